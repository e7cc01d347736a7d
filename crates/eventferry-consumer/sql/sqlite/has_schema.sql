-- purpose: say whether the inbox is there.
-- parameters: none.
-- index: the catalogue's own.
SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'eventferry_inbox_migration'
