-- Which execution may change many entities of a data set. It holds the lease as long as it has not ended.
CREATE TABLE leases (
    tenant_id TEXT NOT NULL,
    data_set TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    PRIMARY KEY (tenant_id, data_set)
);
