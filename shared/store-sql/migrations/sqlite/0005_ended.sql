-- Executions that have ended, by when: all of them, and those whose journal is still there. Of two that fit, SQLite takes the
-- index that was created last.
CREATE INDEX executions_ended ON executions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX executions_ended_with_journal ON executions (ended_at) WHERE ended_at IS NOT NULL AND journal_len > 0;
-- What goes with an execution: its keys, and its request where that is a file of its own.
CREATE INDEX idempotency_keys_of_execution ON idempotency_keys (execution_id);
CREATE INDEX executions_with_request_file ON executions (tenant_id, request) WHERE request LIKE '{"blob":%';
