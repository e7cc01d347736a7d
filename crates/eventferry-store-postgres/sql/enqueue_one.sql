-- purpose: append one event to the caller's transaction; what takes its arguments one by one is planned faster.
-- $1 message id, $2 topic, $3 aggregate type, $4 aggregate id, $5 key, $6 payload, $7 content type, $8 headers (a bytea
-- array in its text form), $9 partition.
INSERT INTO eventferry.outbox (message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, headers, partition)
VALUES ($1::uuid, $2::text, $3::text, $4::text, $5::bytea, $6::bytea, $7::text, $8::text::bytea[], $9::integer)
