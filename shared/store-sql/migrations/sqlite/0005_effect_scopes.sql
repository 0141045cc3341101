-- A step's effects are made under the execution's own scope, or under those that a retry takes over.
ALTER TABLE steps DROP COLUMN effect_scope;
