-- Legal holds, by tenant and name. `hold` is all that is known of one; `subject` is the person whom it names.
CREATE TABLE holds (
    tenant_id TEXT NOT NULL,
    hold_id TEXT NOT NULL,
    placed_at BIGINT NOT NULL,
    held_until BIGINT,
    released_at BIGINT,
    subject TEXT,
    hold TEXT NOT NULL,
    PRIMARY KEY (tenant_id, hold_id)
);
CREATE INDEX holds_of_tenant ON holds (tenant_id, placed_at, hold_id);
CREATE INDEX holds_of_subject ON holds (tenant_id, subject, placed_at, hold_id) WHERE subject IS NOT NULL;
CREATE INDEX holds_not_released ON holds (tenant_id, hold_id) WHERE released_at IS NULL;
