-- purpose: the next topic of the parked events of a lane and stage that have a time.
-- parameters: ?1 lane; ?2 stage; ?3 the topic before it.
-- index: eventferry_parked_due.
SELECT min(topic)
FROM eventferry_parked INDEXED BY eventferry_parked_due
WHERE settled_at IS NULL AND decision IS NULL AND due_at IS NOT NULL AND lane = ?1 AND stage = ?2 AND topic > ?3
