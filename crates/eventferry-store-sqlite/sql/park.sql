-- purpose: keep a full copy of an event that its lane goes on without.
-- parameters: :id the event's; :lane; :refused the broker's words, or NULL; :now microseconds since 1970.
-- index: the primary keys.
INSERT OR REPLACE INTO eventferry_parked
    (id, lane, refused, parked_at, message_id, topic, aggregate_type, aggregate_id, "key", content_type, headers,
     "partition", enqueued_at, payload)
SELECT id, :lane, :refused, :now, message_id, topic, aggregate_type, aggregate_id, "key", content_type, headers,
       "partition", enqueued_at, payload
FROM eventferry_outbox
WHERE id = :id
