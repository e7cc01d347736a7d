-- purpose: empty a slot of the ring if it is consumed and old.
-- $1 slot, $2 retention in seconds. Null: it stays.
-- index: outbox_xid_id (xid, id), for whatever is not settled in it.
SELECT eventferry.empty_slot($1, $2 * interval '1 second')
