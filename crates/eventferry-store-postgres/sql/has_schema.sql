-- purpose: say whether the schema is there, and whether this role may use it; and which version the server has.
SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'eventferry' AND c.relname = 'migration'),
       coalesce((SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'eventferry' AND c.relname = 'migration'), false),
       current_setting('server_version_num')::integer
