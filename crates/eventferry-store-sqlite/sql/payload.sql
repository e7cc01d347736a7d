-- purpose: a payload too large to be read along.
-- parameters: ?1 the event's id.
-- index: the primary key.
SELECT payload FROM eventferry_outbox WHERE id = ?1
