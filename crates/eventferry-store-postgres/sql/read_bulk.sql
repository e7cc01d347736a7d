-- purpose: read a page of a window without late rows beyond `after`: streamed, where read_page() would store it first.
-- $1 prev, $2 cur, as text; $3 restored through, $4 after, $5 last id to look at; $6 a byte a lane, 1 to read it;
-- $7 number of lanes; $8 most rows. To be run between bulk_begin.sql and COMMIT.
-- index: outbox_pkey (id, slot).
SELECT o.id, o.lane_hash % $7, o.created_at, o.message_id, o.topic, o.aggregate_type, o.aggregate_id,
       o.key, o.payload, o.content_type, o.headers, o.partition
FROM eventferry.outbox AS o
WHERE o.id > $4 AND o.id <= $5 AND o.xid >= pg_snapshot_xmax($1::text::pg_snapshot)
  AND (o.id <= $3 OR pg_visible_in_snapshot(o.xid, $2::text::pg_snapshot))
  AND get_byte($6, o.lane_hash % $7) = 1
ORDER BY o.id LIMIT $8
