-- purpose: the events above the lowest position, for the reader to count by lane.
-- parameters: ?1 the lowest position; ?2 the most rows to look at.
-- index: the primary key.
SELECT id, aggregate_type, aggregate_id, enqueued_at FROM eventferry_outbox WHERE id > ?1 ORDER BY id LIMIT ?2
