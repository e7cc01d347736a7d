-- purpose: append events to the caller's transaction, in order.
-- Arrays run side by side, an element an event: $1 message ids, $2 topics, $3 aggregate types, $4 aggregate ids,
-- $5 keys, $6 payloads, $7 content types, $8 headers (each a bytea array in its text form), $9 partitions.
INSERT INTO eventferry.outbox (message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, headers, partition)
SELECT e.message_id, e.topic, e.aggregate_type, e.aggregate_id, e.key, e.payload, e.content_type, e.headers::bytea[], e.partition
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::text[], $8::text[], $9::integer[])
     WITH ORDINALITY AS e (message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, headers, partition, place)
ORDER BY e.place
