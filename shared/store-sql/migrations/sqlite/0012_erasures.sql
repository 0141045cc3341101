-- Who has been erased, without saying who, and the wrapped key by which a tenant's persons are hashed.
CREATE TABLE erasures (
    tenant_id TEXT NOT NULL,
    compliance_id TEXT NOT NULL,
    erasure TEXT NOT NULL,
    PRIMARY KEY (tenant_id, compliance_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE erasure_keys (
    tenant_id TEXT NOT NULL PRIMARY KEY,
    wrapped TEXT NOT NULL
) STRICT, WITHOUT ROWID;
