-- A retry and the execution that it retries name each other.
ALTER TABLE executions ADD COLUMN retried_from TEXT;
ALTER TABLE executions ADD COLUMN retried_as TEXT;
-- Whether the retry only undoes.
ALTER TABLE executions ADD COLUMN only_undoes BIGINT NOT NULL DEFAULT 0;
-- What a retry takes over.
ALTER TABLE executions ADD COLUMN inherited TEXT;
