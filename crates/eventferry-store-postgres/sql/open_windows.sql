-- purpose: open a window from each of the given snapshots to one new one.
-- $1 snapshots, as text.
-- index: anchor_pkey (xid), outbox_xid_id (xid, id), both read backwards.
SELECT cur::text, floors, late_floors, late_throughs, lsn::text, system_identifier, timeline
FROM eventferry.open_windows($1::text[]::pg_snapshot[])
