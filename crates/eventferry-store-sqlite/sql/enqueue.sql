-- purpose: append one event; its id is given out in the order of the events.
-- parameters: ?1 message id, 16 bytes; ?2 topic; ?3 aggregate type; ?4 aggregate id; ?5 key; ?6 content type; ?7 headers
-- in our encoding; ?8 partition; ?9 enqueued at, microseconds since 1970; ?10 payload.
-- index: none; a row goes to the table's end.
INSERT INTO eventferry_outbox
    (message_id, topic, aggregate_type, aggregate_id, "key", content_type, headers, "partition", enqueued_at, payload)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
