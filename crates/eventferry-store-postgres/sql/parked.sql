-- purpose: list the unsettled parked events of lanes, in order.
-- $1 lanes; $2 $3 after this lane and ordinal; $4 at most how many.
-- index: parked_unsettled (lane, ordinal).
SELECT lane, ordinal, aggregate_type, aggregate_id, size_bytes
FROM eventferry.list_parked($1, $2, $3, $4)
