-- The number of a lease: it grows with each new lease of the tenant.
ALTER TABLE leases ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
