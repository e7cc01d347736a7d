-- purpose: decisions on a lane's parked events that are to be carried out.
-- parameters: ?1 lane; ?2 the most of them.
-- index: eventferry_parked_decision.
SELECT lane, ordinal, aggregate_type, aggregate_id, decision, stage
FROM eventferry_parked INDEXED BY eventferry_parked_decision
WHERE settled_at IS NULL AND decision IS NOT NULL AND lane = ?1
ORDER BY ordinal
LIMIT ?2
