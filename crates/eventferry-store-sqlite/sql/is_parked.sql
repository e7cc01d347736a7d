-- purpose: whether an event is parked or was.
-- parameters: ?1 its message id.
-- index: eventferry_parked_message, which covers it.
SELECT EXISTS (SELECT 1 FROM eventferry_parked INDEXED BY eventferry_parked_message WHERE message_id = ?1)
