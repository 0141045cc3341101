-- How many executions are open, of all tenants together; of one tenant the totals tell. A start reads both.
CREATE TABLE open_executions (
    executions BIGINT NOT NULL
);
INSERT INTO open_executions (executions) SELECT COUNT(*) FROM executions WHERE ended_at IS NULL;

CREATE TRIGGER executions_opened AFTER INSERT ON executions WHEN NEW.ended_at IS NULL BEGIN
    UPDATE open_executions SET executions = executions + 1;
END;

CREATE TRIGGER executions_closed AFTER UPDATE OF ended_at ON executions
WHEN OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL BEGIN
    UPDATE open_executions SET executions = executions - 1;
END;

CREATE TRIGGER executions_removed AFTER DELETE ON executions WHEN OLD.ended_at IS NULL BEGIN
    UPDATE open_executions SET executions = executions - 1;
END;
