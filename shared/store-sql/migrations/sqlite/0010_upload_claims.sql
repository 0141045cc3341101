-- Which execution works with an upload. No other start may use that one.
CREATE TABLE upload_claims (
    tenant_id TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    PRIMARY KEY (tenant_id, upload_id)
);
CREATE INDEX upload_claims_of_execution ON upload_claims (execution_id);
