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
CREATE INDEX IF NOT EXISTS answers_by_thing ON answers (tenant_id, entity, entity_id);

-- One row for each row that a key created, put or deleted, with what was there before.
CREATE TABLE IF NOT EXISTS effects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id TEXT NOT NULL,
    key TEXT NOT NULL,
    table_name TEXT NOT NULL,
    row_key TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('create', 'put', 'delete')),
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

-- One row: when the mutation under way happens, and how many changes there have been.
CREATE TABLE IF NOT EXISTS moment (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    at TEXT NOT NULL,
    last_change INTEGER NOT NULL
) STRICT;
INSERT INTO moment VALUES (1, '', 0) ON CONFLICT DO NOTHING;

-- How often each thing has changed, and at which change of all changes the last time; also of what is deleted.
CREATE TABLE IF NOT EXISTS versions (
    table_name TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    change INTEGER NOT NULL,
    updated_at TEXT NOT NULL,
    is_deleted INTEGER NOT NULL,
    PRIMARY KEY (table_name, tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS versions_by_change ON versions (table_name, tenant_id, change);

-- Who saw, changed, deleted or took away what.
CREATE TABLE IF NOT EXISTS logs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at TEXT NOT NULL,
    -- The same time as a number, as texts of times do not sort.
    at_us INTEGER NOT NULL,
    entity_type TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    subject TEXT,
    action TEXT NOT NULL,
    actor TEXT,
    key TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS logs_by_kind ON logs (tenant_id, kind, seq);
CREATE INDEX IF NOT EXISTS logs_by_subject ON logs (tenant_id, subject, seq);

-- Bytes that are too many for one row, in pieces that never change.
CREATE TABLE IF NOT EXISTS chunks (
    blob_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (blob_id, number)
) STRICT;

-- Bytes that nothing refers to yet.
CREATE TABLE IF NOT EXISTS uploads (
    blob_id TEXT PRIMARY KEY,
    started_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The highest number of a lease that came with a write of things of a type.
CREATE TABLE IF NOT EXISTS fences (
    tenant_id TEXT NOT NULL,
    entity_type TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, entity_type)
) STRICT, WITHOUT ROWID;
