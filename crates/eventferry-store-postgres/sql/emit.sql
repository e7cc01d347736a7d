-- purpose: emit events in the caller's transaction, in order: messages in the write-ahead log, and rows of no table.
-- $1-$9 as in enqueue.sql.
SELECT eventferry.emit_event(e.message_id, e.topic, e.aggregate_type, e.aggregate_id, e.key, e.payload, e.content_type,
                             e.headers::bytea[], e.partition)
FROM (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::text[], $8::text[],
                         $9::integer[])
         WITH ORDINALITY AS e (message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, headers, partition, place)
    ORDER BY e.place
    OFFSET 0
) AS e
