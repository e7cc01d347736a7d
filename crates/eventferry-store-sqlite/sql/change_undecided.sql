-- purpose: a person's decision does not fit a parked event any more.
-- parameters: :ordinal, :lane its place.
-- index: the primary key.
UPDATE eventferry_parked SET decision = NULL
WHERE ordinal = :ordinal AND lane = :lane AND settled_at IS NULL
