-- purpose: the unsettled parked events of a lane, in the order of parking, without their columns.
-- parameters: :lane; :above the last place listed; :limit the most events.
-- index: eventferry_parked_lane.
SELECT lane, ordinal, aggregate_type, aggregate_id, size
FROM eventferry_parked INDEXED BY eventferry_parked_lane
WHERE settled_at IS NULL AND lane = :lane AND ordinal > :above
ORDER BY ordinal
LIMIT :limit
