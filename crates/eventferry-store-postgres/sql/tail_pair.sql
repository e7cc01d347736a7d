-- purpose: a snapshot and, taken after it, a place in the log: when all before the place is settled, so is all that the
-- snapshot shows. And how far the log is on disk.
-- $1 the snapshot of the pair before, as text.
-- index: anchor_pkey (xid), outbox_xid_id (xid, id), both read backwards.
SELECT cur::text, floors[1], late_floors[1], (lsn - '0/0'::pg_lsn)::bigint, system_identifier, timeline,
       (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
FROM eventferry.open_windows(ARRAY[$1::text::pg_snapshot])
