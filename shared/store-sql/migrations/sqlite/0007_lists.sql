-- What lists read: parts of an index that are in the order of the list, so that a page costs the same however many rows the
-- tenant has.

-- A list by statuses merges one part for each kind and status. `status` is written only when it changes, as each write
-- of it writes these two.
CREATE INDEX executions_by_status ON executions (tenant_id, kind, status, started_at, seq);
CREATE INDEX executions_of_user_by_status ON executions (tenant_id, user_id, kind, status, started_at, seq)
WHERE user_id IS NOT NULL;
DROP INDEX executions_of_user;

-- A tenant's feed merges one part for each type of event. Its order is that of the events' moments, and only within a
-- moment that in which they were written: `seq` numbers the rows of all tenants, so no answer may tell it.
DROP INDEX history_of_tenant;
CREATE INDEX history_by_type ON history (tenant_id, event_type, at, seq);

-- Events by tenant, so that a feed need not count rows. Each execution knows the length of its own history, which is
-- written once a commit.
CREATE TABLE event_totals (
    tenant_id TEXT PRIMARY KEY,
    events BIGINT NOT NULL
);
-- No history is that long, so a length beyond it is damaged.
INSERT INTO event_totals (tenant_id, events)
SELECT tenant_id, SUM(CASE WHEN history_len BETWEEN 0 AND 1000000000 THEN history_len ELSE 0 END)
FROM executions GROUP BY tenant_id;

CREATE TRIGGER events_counted AFTER INSERT ON executions BEGIN
    INSERT INTO event_totals (tenant_id, events) VALUES (NEW.tenant_id, NEW.history_len)
    ON CONFLICT (tenant_id) DO UPDATE SET events = events + NEW.history_len;
END;

CREATE TRIGGER events_recounted AFTER UPDATE OF history_len ON executions WHEN NEW.history_len <> OLD.history_len BEGIN
    UPDATE event_totals SET events = events + NEW.history_len - OLD.history_len WHERE tenant_id = NEW.tenant_id;
END;

CREATE TRIGGER events_uncounted AFTER DELETE ON executions BEGIN
    UPDATE event_totals SET events = events - OLD.history_len WHERE tenant_id = OLD.tenant_id;
END;
