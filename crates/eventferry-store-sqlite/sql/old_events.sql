-- purpose: the first events that every lane has settled and that are old enough to go.
-- parameters: :before microseconds since 1970; :limit how many events to look at.
-- index: the primary key; young events end the look after :limit rows of the table's beginning.
SELECT id
FROM (
    SELECT id, enqueued_at
    FROM eventferry_outbox
    WHERE id <= (SELECT min(position) FROM eventferry_lane)
    ORDER BY id
    LIMIT :limit
)
WHERE enqueued_at < :before
ORDER BY id
