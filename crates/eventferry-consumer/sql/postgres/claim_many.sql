-- purpose: note messages as handled, and say which were not; in the order of their ids, or two that claim the same ones
-- would wait for each other for ever.
-- parameters: $1 consumer; $2 message ids.
-- index: the primary key.
INSERT INTO eventferry_inbox.message (consumer, message_id)
SELECT $1::text, id FROM unnest($2::uuid[]) AS id ORDER BY id
ON CONFLICT DO NOTHING
RETURNING message_id::text
