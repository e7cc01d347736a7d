-- purpose: a parked event in full; the first twelve columns are those of read.sql.
-- parameters: ?1 its place.
-- index: the primary key.
SELECT id, aggregate_type, aggregate_id, octet_length(payload), topic, "key", content_type, headers, message_id,
       "partition", enqueued_at, payload, lane, ordinal, stage, attempts, cause_class, cause_message, failed_at,
       parked_at, due_at, decision
FROM eventferry_parked
WHERE ordinal = ?1
