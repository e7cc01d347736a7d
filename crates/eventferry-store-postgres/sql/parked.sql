-- purpose: list the parked events of lanes, in order.
-- $1 lanes; $2 $3 after this lane and ordinal; $4 at most how many.
-- index: parked_pkey (lane, ordinal).
SELECT lane, ordinal, aggregate_type, aggregate_id, message_id, topic, refused, parked_at
FROM eventferry.parked
WHERE lane = ANY ($1) AND (lane, ordinal) > ($2, $3)
ORDER BY lane, ordinal
LIMIT $4
