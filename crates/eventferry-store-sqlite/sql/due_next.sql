-- purpose: when the next parked event for a topic falls due.
-- parameters: ?1 lane; ?2 stage; ?3 topic; ?4 now, microseconds since 1970.
-- index: eventferry_parked_due.
SELECT min(due_at)
FROM eventferry_parked INDEXED BY eventferry_parked_due
WHERE settled_at IS NULL AND decision IS NULL AND due_at IS NOT NULL
      AND lane = ?1 AND stage = ?2 AND topic = ?3 AND due_at > ?4
