-- purpose: open a window and read its first page.
-- $1 prev, as text; $2 a byte a lane, 1 to read it; $3 number of lanes; $4 most rows; $5 most ids to look at.
-- index: anchor_pkey (xid), outbox_pkey (id, slot), outbox_xid_id (xid, id).
SELECT id, lane, created_at, message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, headers, partition,
       cur::text, bounds, flushed
FROM eventferry.look($1::text::pg_snapshot, $2, $3, $4, $5)
