-- How long an execution was paused in all, in microseconds: its pace leaves that out.
ALTER TABLE executions ADD COLUMN paused_us INTEGER NOT NULL DEFAULT 0;
