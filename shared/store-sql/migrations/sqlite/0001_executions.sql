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
    -- What runs it.
    engine TEXT NOT NULL,
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
    -- What its steps have reported of its result.
    reported TEXT,
    result TEXT,
    failure TEXT,
    version BIGINT NOT NULL,
    journal_len BIGINT NOT NULL,
    -- Records that later ones stand for are deleted; how many there were tells a journal that is whole from one that is not.
    journal_forgotten BIGINT NOT NULL DEFAULT 0,
    history_len BIGINT NOT NULL,
    -- The history's length before the forward step that began last.
    forward_at BIGINT NOT NULL DEFAULT 0,
    -- For those whose engine is elsewhere: whether it has been heard of there, and from when on it is looked at again.
    has_begun BIGINT NOT NULL DEFAULT 0,
    due_at BIGINT
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

-- What the record of attempts knows of a step; executions with a journal of ours have none of it.
CREATE TABLE steps (
    execution_id TEXT NOT NULL REFERENCES executions (id),
    -- The state and, where it is entered several times, the item: `ProcessBatch[17.2]`.
    path TEXT NOT NULL,
    -- Whether it is a batch of a distributed Map, which is no event and counts for no progress.
    is_batch BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    -- The attempt under way: its activity and kind, the history's length before it.
    open_activity TEXT,
    open_kind TEXT,
    open_after BIGINT,
    -- The result, once it is done.
    done TEXT,
    -- The effect scope under which its effect was made, once it has begun.
    effect_scope TEXT,
    -- The history's length before it began to be undone: nothing of it begins any more.
    closed_at BIGINT,
    -- The number of the event that said that it is undone.
    undone_at BIGINT,
    PRIMARY KEY (execution_id, path)
);
