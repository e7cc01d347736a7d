-- purpose: emit events in the caller's transaction, in order, for drivers that can send no array with a null in it.
-- $1-$10 as in enqueue_dense.sql.
SELECT eventferry.emit_event(e.message_id, e.topic, e.aggregate_type, e.aggregate_id,
                             CASE WHEN e.given & 1 <> 0 THEN e.key END,
                             CASE WHEN e.given & 2 <> 0 THEN e.payload END,
                             CASE WHEN e.given & 4 <> 0 THEN e.content_type END,
                             CASE WHEN e.given & 8 <> 0 THEN e.headers::bytea[] END,
                             CASE WHEN e.given & 16 <> 0 THEN e.partition END)
FROM (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::text[], $8::text[],
                         $9::integer[], $10::integer[])
         WITH ORDINALITY AS e (message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, headers, partition,
                               given, place)
    ORDER BY e.place
    OFFSET 0
) AS e
