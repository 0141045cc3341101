-- Who asked for what, and what became of it. Rows are only ever added.
CREATE TABLE audit (
    -- The order in which rows were added, over all tenants.
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT,
    is_admin BIGINT NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    workflow_id TEXT,
    workflow_kind TEXT,
    request_id TEXT NOT NULL,
    reason TEXT,
    details TEXT NOT NULL
);
CREATE INDEX audit_of_tenant ON audit (tenant_id, at, id);
