-- purpose: what must hold before a relay runs: number of lanes, ids the sequence caches, tables and sequences that the role
-- may not read or write (null: none), isolation of its transactions, whether inserts ring the doorbell,
-- what the outbox is called at the broker.
SELECT (SELECT count(*) FROM eventferry.lane),
       (SELECT s.seqcache FROM pg_catalog.pg_sequence s WHERE s.seqrelid = 'eventferry.outbox_id'::regclass),
       (SELECT string_agg(t.name, ', ')
        FROM (VALUES ('eventferry.outbox', 'SELECT'), ('eventferry.outbox_id', 'SELECT'),
                     ('eventferry.lane', 'SELECT'), ('eventferry.lane', 'UPDATE'),
                     ('eventferry.relay', 'INSERT'), ('eventferry.beat', 'INSERT'), ('eventferry.beat', 'DELETE'),
                     ('eventferry.position', 'INSERT'), ('eventferry.position', 'DELETE'),
                     ('eventferry.read_window', 'INSERT'), ('eventferry.anchor', 'INSERT'),
                     ('eventferry.history', 'INSERT'), ('eventferry.parked', 'INSERT'),
                     ('eventferry.parked', 'UPDATE'), ('eventferry.parked', 'DELETE'), ('eventferry.audit', 'INSERT'),
                     ('eventferry.intent', 'INSERT'), ('eventferry.intent', 'UPDATE'), ('eventferry.intent', 'DELETE'),
                     ('eventferry.identity', 'UPDATE')) AS t (name, privilege)
        WHERE NOT has_table_privilege(t.name, t.privilege)),
       current_setting('default_transaction_isolation'),
       EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
               WHERE t.tgrelid = 'eventferry.outbox'::regclass AND t.tgname = 'doorbell' AND t.tgenabled IN ('O', 'A')),
       (SELECT i.outbox::text FROM eventferry.identity AS i)
