-- purpose: say whether the inbox is there. Asked of the catalogue itself: to_regclass() goes by what the session keeps of
-- it, which may be older than a table that another session just made.
-- parameters: none.
-- index: the catalogue's own.
SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'eventferry_inbox' AND c.relname = 'migration')
