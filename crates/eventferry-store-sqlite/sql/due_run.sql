-- purpose: the first unsettled parked event of an aggregate and those behind it, in their order.
-- parameters: ?1 the first one's place.
-- index: the primary key; eventferry_parked_aggregate.
SELECT event.ordinal, event.stage, event.topic, event.due_at, event.decision IS NOT NULL, event.size
FROM eventferry_parked AS head
CROSS JOIN eventferry_parked AS event INDEXED BY eventferry_parked_aggregate
    ON event.settled_at IS NULL AND event.lane = head.lane AND event.aggregate_type = head.aggregate_type
       AND event.aggregate_id = head.aggregate_id
WHERE head.ordinal = ?1
ORDER BY event.ordinal
