-- purpose: settled parked events that are old enough to go. One whose event is still in the outbox stays, as do those
-- of a lane that goes over events again: the feed must know them.
-- parameters: :before microseconds since 1970; :limit the most of them.
-- index: eventferry_parked_settled; the other tables' primary keys.
SELECT ordinal
FROM eventferry_parked AS parked INDEXED BY eventferry_parked_settled
WHERE settled_at < :before
      AND NOT EXISTS (
          SELECT 1 FROM eventferry_outbox AS event
          WHERE event.id = parked.id AND event.message_id = parked.message_id
      )
      AND NOT EXISTS (SELECT 1 FROM eventferry_lane AS lane WHERE lane.lane = parked.lane AND position < reached)
ORDER BY settled_at
LIMIT :limit
