-- Records that later ones stand for are deleted; how many there were tells a journal that is whole from one that is not.
ALTER TABLE executions ADD COLUMN journal_forgotten BIGINT NOT NULL DEFAULT 0;
