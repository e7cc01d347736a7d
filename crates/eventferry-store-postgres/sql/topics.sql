-- purpose: the topics of the newest events and of parked ones, each with its largest payload in bytes (the size is read
-- without the payload), for whoever checks that a broker has them and takes as much.
-- $1 at most how many events of either.
-- index: the outbox's (id, slot), backwards; parked_unsettled (lane, ordinal).
SELECT topic, max(bytes)::bigint
FROM (
    (SELECT o.topic, coalesce(octet_length(o.payload), 0) AS bytes FROM eventferry.outbox AS o ORDER BY o.id DESC LIMIT $1)
    UNION ALL
    (SELECT p.topic, coalesce(octet_length(p.payload), 0) FROM eventferry.parked AS p
        WHERE p.settled_at IS NULL ORDER BY p.lane, p.ordinal LIMIT $1)
) AS seen
GROUP BY topic ORDER BY topic
