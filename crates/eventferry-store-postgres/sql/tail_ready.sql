-- purpose: what must hold before the log's tail is read: how many slots and senders the server has room for at all, whether
-- the slot is one of ours (null: there is none), whether the publication is as we make it (null: there is none), a text that
-- is another when it was made anew or changed, and which cluster and database this is.
-- index: none; the catalogs are small.
SELECT current_setting('max_replication_slots')::integer, current_setting('max_wal_senders')::integer,
       (SELECT coalesce(s.plugin = 'pgoutput' AND s.database = current_database() AND NOT s.temporary AND NOT s.two_phase, false)
        FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = eventferry.tail_slot()),
       (SELECT p.pubinsert AND p.pubviaroot AND EXISTS (
            -- All rows, and all columns: the latter two are columns of the catalog from PostgreSQL 15 on.
            SELECT FROM pg_catalog.pg_publication_rel AS r
            WHERE r.prpubid = p.oid AND r.prrelid = 'eventferry.outbox'::regclass
              AND to_jsonb(r) ->> 'prqual' IS NULL AND to_jsonb(r) ->> 'prattrs' IS NULL)
        FROM pg_catalog.pg_publication AS p WHERE p.pubname = 'eventferry'),
       (SELECT concat_ws(':', p.oid, r.oid) FROM pg_catalog.pg_publication AS p
        JOIN pg_catalog.pg_publication_rel AS r ON r.prpubid = p.oid AND r.prrelid = 'eventferry.outbox'::regclass
        WHERE p.pubname = 'eventferry'),
       (SELECT h.system_identifier FROM eventferry.current_history() AS h), current_database()::text
