-- purpose: a parked event is in the dead-letter topic and its aggregate waits for a person.
-- parameters: :ordinal, :lane its place.
-- index: the primary key.
UPDATE eventferry_parked SET stage = 'held', due_at = NULL
WHERE ordinal = :ordinal AND lane = :lane AND settled_at IS NULL
