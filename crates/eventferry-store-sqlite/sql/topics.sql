-- purpose: the topics of the newest events and of parked ones, each with its largest payload in bytes (the size is read
-- without the payload), for whoever checks that a broker has them and takes as much.
-- parameters: ?1 at most how many events of either.
-- index: the outbox's primary key, backwards; eventferry_parked_lane.
SELECT topic, max(bytes)
FROM (
    SELECT * FROM (
        SELECT topic, coalesce(length(payload), 0) AS bytes FROM eventferry_outbox ORDER BY id DESC LIMIT ?1
    )
    UNION ALL
    SELECT * FROM (
        SELECT topic, coalesce(length(payload), 0) FROM eventferry_parked
        WHERE settled_at IS NULL ORDER BY lane, ordinal LIMIT ?1
    )
)
GROUP BY topic ORDER BY topic
