-- purpose: a parked event is settled: what is left of it is known to the feed until retention. The next one of its
-- aggregate is due.
-- parameters: :ordinal, :lane its place; :end how; :now microseconds since 1970.
-- index: the primary key; eventferry_parked_aggregate for the next one, by a trigger.
UPDATE eventferry_parked
SET settled_at = :now, "end" = :end, due_at = NULL, decision = NULL, "key" = NULL, headers = NULL, payload = NULL
WHERE ordinal = :ordinal AND lane = :lane AND settled_at IS NULL
