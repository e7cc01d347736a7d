-- purpose: go over the events in order; the reader stops where it has no more room.
-- parameters: ?1 above which id; ?2 up to which id; ?3 the largest payload to come along, in bytes.
-- index: the primary key.
SELECT id, aggregate_type, aggregate_id, octet_length(payload), topic, "key", content_type, headers, message_id,
       "partition", enqueued_at, CASE WHEN octet_length(payload) <= ?3 THEN payload END
FROM eventferry_outbox
WHERE id > ?1 AND id <= ?2
ORDER BY id
