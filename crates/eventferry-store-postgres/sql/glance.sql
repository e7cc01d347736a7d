-- purpose: look whether anything was committed since a snapshot.
-- $1 the snapshot, as text.
-- index: outbox_xid_id (xid, id).
SELECT stirred, newest, system_identifier, timeline FROM eventferry.glance($1::text::pg_snapshot)
