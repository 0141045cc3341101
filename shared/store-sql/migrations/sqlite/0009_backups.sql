-- Backups that were completed, by tenant and name. `summary` never changes.
CREATE TABLE backups (
    tenant_id TEXT NOT NULL,
    backup_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    keep_until BIGINT,
    removing_since BIGINT,
    summary TEXT NOT NULL,
    last_drill TEXT,
    PRIMARY KEY (tenant_id, backup_id)
);
CREATE INDEX backups_of_tenant ON backups (tenant_id, created_at, backup_id);
CREATE INDEX backups_due ON backups (keep_until) WHERE keep_until IS NOT NULL;
