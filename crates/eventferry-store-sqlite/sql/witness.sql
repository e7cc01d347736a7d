-- purpose: whose row an id is.
-- parameters: ?1 the id.
-- index: the primary key.
SELECT message_id FROM eventferry_outbox WHERE id = ?1
