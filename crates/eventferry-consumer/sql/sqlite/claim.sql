-- purpose: note a message as handled, unless it is.
-- parameters: ?1 consumer; ?2 message id, 16 bytes.
-- index: the primary key.
INSERT INTO eventferry_inbox (consumer, message_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING
