-- purpose: a lane's unsettled parked events that a person means, but for the words of their cause.
-- parameters: :lane; :above the last place seen; :through the last place to look at; :type, :id of the aggregate,
-- :topic, :stage, or NULL for any; :parked_by the latest time of parking, microseconds since 1970.
-- index: eventferry_parked_lane.
SELECT ordinal, lane, stage, cause_class, cause_message, decision, size
FROM eventferry_parked INDEXED BY eventferry_parked_lane
WHERE settled_at IS NULL AND lane = :lane AND ordinal > :above AND ordinal <= :through
      AND (:type IS NULL OR aggregate_type = :type)
      AND (:id IS NULL OR aggregate_id = :id)
      AND (:topic IS NULL OR topic = :topic)
      AND (:stage IS NULL OR stage = :stage)
      AND parked_at <= :parked_by
ORDER BY ordinal
