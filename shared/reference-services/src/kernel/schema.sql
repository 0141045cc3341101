-- The first answer to each key, and the request it answered.
CREATE TABLE IF NOT EXISTS answers (
    tenant_id TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    entity TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    PRIMARY KEY (tenant_id, key)
) STRICT, WITHOUT ROWID;

-- One row for each row that a key created or put, with what was there before.
CREATE TABLE IF NOT EXISTS effects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id TEXT NOT NULL,
    key TEXT NOT NULL,
    table_name TEXT NOT NULL,
    row_key TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('create', 'put')),
    before_image TEXT,
    undone INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS effects_by_key ON effects (tenant_id, key);
CREATE INDEX IF NOT EXISTS effects_by_row ON effects (table_name, row_key, seq);

-- Keys that have been undone: whatever still arrives under one is refused.
CREATE TABLE IF NOT EXISTS tombstones (
    tenant_id TEXT NOT NULL,
    key TEXT NOT NULL,
    undone INTEGER NOT NULL,
    undone_at TEXT NOT NULL,
    PRIMARY KEY (tenant_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS ledger (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    method TEXT NOT NULL,
    route TEXT NOT NULL,
    entity TEXT,
    entity_id TEXT,
    outcome TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS seeds (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
