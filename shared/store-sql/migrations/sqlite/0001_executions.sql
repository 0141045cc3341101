-- Times are microseconds since the Unix epoch, documents are JSON text; only what every SQL dialect of ours has is
-- used here, so that another dialect is another folder beside this one and no other code.

-- State machines, pinned by the executions that run them.
CREATE TABLE definitions (
    hash TEXT PRIMARY KEY,
    text TEXT NOT NULL
);

CREATE TABLE executions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    user_id TEXT,
    status TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    ended_at BIGINT,
    deadline_at BIGINT,
    cancel_requested_at BIGINT,
    paused_at BIGINT,
    cancel_window_open BIGINT NOT NULL,
    pivot_begun BIGINT NOT NULL,
    effect_scope TEXT NOT NULL,
    definition_hash TEXT REFERENCES definitions (hash),
    input TEXT NOT NULL,
    request TEXT NOT NULL,
    progress TEXT NOT NULL,
    result TEXT,
    failure TEXT,
    version BIGINT NOT NULL,
    journal_len BIGINT NOT NULL,
    history_len BIGINT NOT NULL
);
CREATE INDEX executions_of_tenant ON executions (tenant_id, seq);
CREATE INDEX executions_open ON executions (seq) WHERE ended_at IS NULL;

CREATE TABLE idempotency_keys (
    tenant_id TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    execution_id TEXT NOT NULL REFERENCES executions (id),
    PRIMARY KEY (tenant_id, route, key)
);

-- What the interpreter was told, in order from 1.
CREATE TABLE journal (
    execution_id TEXT NOT NULL REFERENCES executions (id),
    number BIGINT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (execution_id, number)
);

-- What users read, in order from 1.
CREATE TABLE history (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id TEXT NOT NULL,
    execution_id TEXT NOT NULL REFERENCES executions (id),
    event_id BIGINT NOT NULL,
    event_type TEXT NOT NULL,
    at BIGINT NOT NULL,
    details TEXT NOT NULL,
    UNIQUE (execution_id, event_id)
);
CREATE INDEX history_of_tenant ON history (tenant_id, seq);

-- Completed executions by kind, for estimates.
CREATE TABLE durations (
    kind TEXT PRIMARY KEY,
    completed BIGINT NOT NULL,
    total_ms BIGINT NOT NULL
);
