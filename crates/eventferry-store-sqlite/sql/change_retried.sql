-- purpose: a person's retry of a parked event is carried out, unless it was given up meanwhile.
-- parameters: :ordinal, :lane its place; :now microseconds since 1970.
-- index: the primary key.
UPDATE eventferry_parked
SET stage = iif(stage = 'waiting', 'topic', stage),
    attempts = iif(stage IN ('topic', 'waiting') AND cause_class IS NOT NULL, 0, attempts),
    due_at = iif(stage IN ('topic', 'waiting') AND cause_class IS NOT NULL, :now, due_at),
    decision = iif(decision = 'retry', NULL, decision)
WHERE ordinal = :ordinal AND lane = :lane AND settled_at IS NULL
