-- purpose: read a page of a window without late rows beyond `after`: streamed, where read_page() would store it first.
-- $1 prev, $2 cur, as text; $3 after, $4 last id to look at; $5 a byte a lane, 1 to read it; $6 number of lanes;
-- $7 most rows. To be run between bulk_begin.sql and COMMIT, and not on a window after a restore.
-- index: outbox_pkey (id, slot).
SELECT o.id, o.lane_hash % $6, o.created_at, o.message_id, o.topic, o.aggregate_type, o.aggregate_id,
       o.key, o.payload, o.content_type, o.headers, o.partition
FROM eventferry.outbox AS o
WHERE o.id > $3 AND o.id <= $4 AND o.xid >= pg_snapshot_xmax($1::text::pg_snapshot)
  AND pg_visible_in_snapshot(o.xid, $2::text::pg_snapshot)
  AND get_byte($5, o.lane_hash % $6) = 1
ORDER BY o.id LIMIT $7
