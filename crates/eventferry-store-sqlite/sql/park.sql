-- purpose: keep a full copy of an event that its lane goes on without. One that only waits behind an earlier event,
-- which was settled meanwhile, is due at once.
-- parameters: :id the event's; :lane; :stage; :attempts how many count; :due_at microseconds since 1970, or NULL;
-- :class, :message of its refusal, or NULL; :size in bytes; :now microseconds since 1970.
-- index: the outbox's primary key; eventferry_parked_aggregate.
INSERT INTO eventferry_parked
    (lane, stage, attempts, due_at, cause_class, cause_message, failed_at, parked_at, size, id, message_id, topic,
     aggregate_type, aggregate_id, "key", content_type, headers, "partition", enqueued_at, payload)
SELECT :lane, :stage, :attempts,
       CASE
           WHEN :class IS NOT NULL OR EXISTS (
               SELECT 1 FROM eventferry_parked AS earlier INDEXED BY eventferry_parked_aggregate
               WHERE earlier.settled_at IS NULL AND earlier.lane = :lane
                     AND earlier.aggregate_type = event.aggregate_type AND earlier.aggregate_id = event.aggregate_id
           ) THEN :due_at
           ELSE :now
       END,
       :class, :message, CASE WHEN :class IS NOT NULL THEN :now END, :now, :size, id, message_id, topic,
       aggregate_type, aggregate_id, "key", content_type, headers, "partition", enqueued_at, payload
FROM eventferry_outbox AS event
WHERE id = :id
