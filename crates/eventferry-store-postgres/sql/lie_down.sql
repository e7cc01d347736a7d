-- purpose: lie down at the doorbell, if nothing was committed since a snapshot.
-- $1 the snapshot, as text.
-- index: outbox_xid_id (xid, id).
SELECT eventferry.lie_down($1::text::pg_snapshot)
