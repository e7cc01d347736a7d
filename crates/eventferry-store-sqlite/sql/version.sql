-- purpose: the schema's version, 0 before the first migration.
-- parameters: none.
-- index: the primary key's end.
SELECT coalesce(max(version), 0) FROM eventferry_migration
