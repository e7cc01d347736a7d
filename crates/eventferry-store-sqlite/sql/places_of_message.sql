-- purpose: where the unsettled parked events of a message are.
-- parameters: ?1 the message id, 16 bytes.
-- index: eventferry_parked_message.
SELECT lane, ordinal
FROM eventferry_parked INDEXED BY eventferry_parked_message
WHERE message_id = ?1 AND settled_at IS NULL
