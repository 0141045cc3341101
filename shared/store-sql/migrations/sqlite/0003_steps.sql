-- What runs an execution.
ALTER TABLE executions ADD COLUMN engine TEXT NOT NULL DEFAULT 'embedded';

-- For those whose engine is elsewhere: whether it has been heard of there, and from when on it is looked at again.
ALTER TABLE executions ADD COLUMN has_begun BIGINT NOT NULL DEFAULT 0;
ALTER TABLE executions ADD COLUMN due_at BIGINT;

-- What the record of attempts knows of a step; executions with a journal of ours have none of it.
CREATE TABLE steps (
    execution_id TEXT NOT NULL REFERENCES executions (id),
    step TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    -- The attempt under way: its activity and kind, the number of its first event.
    open_activity TEXT,
    open_kind TEXT,
    open_after BIGINT,
    -- The result, once it is done.
    done TEXT,
    -- Whether it is being undone: nothing of it begins any more.
    closed BIGINT NOT NULL,
    -- The number of the event that said that it is undone.
    undone_at BIGINT,
    PRIMARY KEY (execution_id, step)
);
