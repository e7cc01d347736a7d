-- purpose: write a person's decision onto parked events, and what was done into the audit table.
-- $1 decision; $2 who, $3 why; $4 message ids (empty: any); $5 aggregate type, $6 aggregate id, $7 topic, $8 reason,
-- $9 state (null: any); $10 parked at least this many microseconds ago (null: whenever).
-- index: parked_unsettled (lane, ordinal); parked_once (message_id) if message ids are given.
SELECT taken, refused FROM eventferry.decide($1, $2, $3, $4, $5, $6, $7, $8, $9, $10 * interval '1 microsecond')
