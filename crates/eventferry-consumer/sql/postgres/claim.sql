-- purpose: note a message as handled, unless it is; a transaction that is just doing so is waited for.
-- parameters: $1 consumer; $2 message id.
-- index: the primary key.
INSERT INTO eventferry_inbox.message (consumer, message_id) VALUES ($1, $2::uuid) ON CONFLICT DO NOTHING
