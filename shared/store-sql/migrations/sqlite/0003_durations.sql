-- What is counted: how long executions took, and how many there are in each status.

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
