-- purpose: read a page of a window.
-- $1 prev, $2 cur, as text; $3 floor, $4 late floor, $5 restored through, $6 after, as ids; $7 a byte a lane, 1 to
-- read it; $8 number of lanes; $9 most rows; $10 most ids to look at.
-- index: outbox_pkey (id, slot) for new rows, outbox_xid_id (xid, id) for late ones.
SELECT id, lane, created_at, message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, headers, partition
FROM eventferry.read_page($1::text::pg_snapshot, $2::text::pg_snapshot, $3, $4, $5, $6, $7, $8, $9, $10)
