-- purpose: whether the schema is there at all.
-- parameters: none.
-- index: none; the schema table is small.
SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'eventferry_migration'
