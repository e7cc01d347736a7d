-- purpose: the parked events of a lane, oldest first, without their payloads.
-- parameters: :lane; :above the last id listed; :limit the most events.
-- index: eventferry_parked_lane.
SELECT lane, id, aggregate_type, aggregate_id, message_id, topic, refused, parked_at
FROM eventferry_parked
WHERE lane = :lane AND id > :above
ORDER BY id
LIMIT :limit
