-- purpose: remove one parked event that is settled and old.
-- parameters: ?1 its place.
-- index: the primary key.
DELETE FROM eventferry_parked WHERE ordinal = ?1 AND settled_at IS NOT NULL
