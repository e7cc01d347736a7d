-- purpose: a snapshot and, taken after it, a place in the log: when all before the place is settled, so is all that the
-- snapshot shows. And how far the log is on disk, and which publication there is, as in tail_ready.sql: later than all that
-- lies before the place.
-- $1 the snapshot of the pair before, as text.
-- index: anchor_pkey (xid), outbox_xid_id (xid, id), both read backwards.
SELECT cur::text, floors[1], late_floors[1], (lsn - '0/0'::pg_lsn)::bigint, system_identifier, timeline,
       (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
       (SELECT concat_ws(':', p.oid, r.oid) FROM pg_catalog.pg_publication AS p
        JOIN pg_catalog.pg_publication_rel AS r ON r.prpubid = p.oid AND r.prrelid = 'eventferry.outbox'::regclass
        WHERE p.pubname = 'eventferry')
FROM eventferry.open_windows(ARRAY[$1::text::pg_snapshot])
