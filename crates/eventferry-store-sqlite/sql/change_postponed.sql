-- purpose: a parked event is due again later.
-- parameters: :ordinal, :lane its place; :due_at microseconds since 1970.
-- index: the primary key.
UPDATE eventferry_parked SET due_at = :due_at
WHERE ordinal = :ordinal AND lane = :lane AND settled_at IS NULL AND stage IN ('topic', 'dead_letter_topic')
