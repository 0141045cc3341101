-- The requests of persons that compliance workflows answer, by tenant and name. `request` is what one was when it was new,
-- `ended`, `extension` and `last_notice` what has changed since then. `due_at` is by when an answer is due now.
CREATE TABLE data_requests (
    tenant_id TEXT NOT NULL,
    compliance_id TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    state TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    look_at BIGINT,
    request TEXT NOT NULL,
    ended TEXT,
    extension TEXT,
    last_notice TEXT,
    PRIMARY KEY (tenant_id, compliance_id)
);
-- With the state, so that rows of other states are not read.
CREATE INDEX data_requests_of_tenant ON data_requests (tenant_id, due_at, compliance_id, state);
CREATE INDEX data_requests_of_workflow ON data_requests (workflow_id);
CREATE INDEX data_requests_to_look_at ON data_requests (look_at) WHERE look_at IS NOT NULL;
