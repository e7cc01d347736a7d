-- purpose: the schema's version.
-- index: migration_pkey.
SELECT coalesce(max(version), 0) FROM eventferry.migration
