-- purpose: the parked events for a topic whose time has come and that are the first of their aggregate.
-- parameters: ?1 lane; ?2 stage; ?3 topic; ?4 now, microseconds since 1970; ?5 the last place in hand, 0 if none is.
-- index: eventferry_parked_due; eventferry_parked_aggregate.
SELECT ordinal
FROM eventferry_parked AS head INDEXED BY eventferry_parked_due
WHERE settled_at IS NULL AND decision IS NULL AND due_at IS NOT NULL
      AND lane = ?1 AND stage = ?2 AND topic = ?3 AND due_at <= ?4 AND ordinal > ?5
      AND NOT EXISTS (
          SELECT 1 FROM eventferry_parked AS earlier INDEXED BY eventferry_parked_aggregate
          WHERE earlier.settled_at IS NULL AND earlier.lane = head.lane
                AND earlier.aggregate_type = head.aggregate_type AND earlier.aggregate_id = head.aggregate_id
                AND earlier.ordinal < head.ordinal
      )
