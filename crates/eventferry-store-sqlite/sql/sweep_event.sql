-- purpose: remove one event that is settled and old.
-- parameters: ?1 its id.
-- index: the primary key.
DELETE FROM eventferry_outbox WHERE id = ?1
