-- purpose: write a decision onto an unsettled parked event that has none.
-- parameters: :ordinal its place; :decision.
-- index: the primary key.
UPDATE eventferry_parked SET decision = :decision
WHERE ordinal = :ordinal AND settled_at IS NULL AND decision IS NULL
