-- purpose: say whether the inbox is there.
-- parameters: none.
-- index: the catalogue's own.
SELECT to_regclass('eventferry_inbox.migration') IS NOT NULL
