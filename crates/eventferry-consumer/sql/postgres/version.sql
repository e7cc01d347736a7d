-- purpose: the schema's version.
-- parameters: none.
-- index: the primary key.
SELECT coalesce(max(version), 0) FROM eventferry_inbox.migration
