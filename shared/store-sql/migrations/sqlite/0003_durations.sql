-- What is counted: how long executions took, how many there are in each status, how far batches are.

-- Completed executions by tenant and kind, for estimates: the past of one tenant says nothing about another's.
CREATE TABLE tenant_durations (
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    completed BIGINT NOT NULL,
    total_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, kind)
);
INSERT INTO tenant_durations (tenant_id, kind, completed, total_ms)
SELECT tenant_id, kind, COUNT(*), SUM((ended_at - started_at) / 1000)
FROM executions WHERE status = 'Completed' GROUP BY tenant_id, kind;
DROP TABLE durations;

-- Executions by status, so that a list need not count rows. Triggers keep it: an index by status would be written with
-- every step, as every step writes the column. (Their syntax is SQLite's; another dialect's folder has its own.)
CREATE TABLE totals (
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    executions BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, kind, status)
);
INSERT INTO totals (tenant_id, kind, status, executions)
SELECT tenant_id, kind, status, COUNT(*) FROM executions GROUP BY tenant_id, kind, status;

CREATE TRIGGER executions_counted AFTER INSERT ON executions BEGIN
    INSERT INTO totals (tenant_id, kind, status, executions) VALUES (NEW.tenant_id, NEW.kind, NEW.status, 1)
    ON CONFLICT (tenant_id, kind, status) DO UPDATE SET executions = executions + 1;
END;

CREATE TRIGGER executions_recounted AFTER UPDATE OF status ON executions WHEN NEW.status <> OLD.status BEGIN
    UPDATE totals SET executions = executions - 1
    WHERE tenant_id = OLD.tenant_id AND kind = OLD.kind AND status = OLD.status;
    INSERT INTO totals (tenant_id, kind, status, executions) VALUES (NEW.tenant_id, NEW.kind, NEW.status, 1)
    ON CONFLICT (tenant_id, kind, status) DO UPDATE SET executions = executions + 1;
END;

CREATE TRIGGER executions_uncounted AFTER DELETE ON executions BEGIN
    UPDATE totals SET executions = executions - 1
    WHERE tenant_id = OLD.tenant_id AND kind = OLD.kind AND status = OLD.status;
END;

-- Lists are sorted by the start, which `seq` only follows roughly: of two starts at once, the later may be stored first.
CREATE INDEX executions_of_tenant_by_start ON executions (tenant_id, started_at, seq);
CREATE INDEX executions_of_user ON executions (tenant_id, user_id, started_at, seq) WHERE user_id IS NOT NULL;
DROP INDEX executions_of_tenant;

-- How far the batches of an execution's distributed Map are; a row once one of them is over.
CREATE TABLE batches (
    execution_id TEXT PRIMARY KEY REFERENCES executions (id),
    -- How many there are, if their Tasks say so.
    total BIGINT,
    completed BIGINT NOT NULL,
    failed BIGINT NOT NULL
);
-- Whether an attempt of a batch has failed, and none has done it since.
ALTER TABLE steps ADD COLUMN has_failed BIGINT NOT NULL DEFAULT 0;
-- Only what was begun to do something has an effect scope; what undoes has none.
UPDATE steps SET has_failed = 1
WHERE is_batch = 1 AND effect_scope IS NOT NULL AND done IS NULL AND open_activity IS NULL;
INSERT INTO batches (execution_id, completed, failed)
SELECT execution_id, COUNT(done), SUM(has_failed) FROM steps WHERE is_batch = 1 AND effect_scope IS NOT NULL
GROUP BY execution_id;
-- It has no other use: a step's effects are made under the execution's own scope, or under those that a retry takes over.
ALTER TABLE steps DROP COLUMN effect_scope;
