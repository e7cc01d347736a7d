-- purpose: unsettled parked events that a person means, in order.
-- $1 message ids (empty: any); $2 aggregate type, $3 aggregate id, $4 topic, $5 reason, $6 state (null: any);
-- $7 parked at least this many microseconds ago (null: whenever); $8 $9 after this lane and ordinal; $10 at most how many,
-- $11 how many bytes. Each row says how many there were, up to one over the limit.
-- index: parked_unsettled (lane, ordinal); parked_once (message_id) if message ids are given.
WITH meant AS MATERIALIZED (
    SELECT m.lane, m.ordinal, m.size_bytes
    FROM eventferry.parked_like($1, $2, $3, $4, $5, $6, $7 * interval '1 microsecond') AS m
    WHERE (m.lane, m.ordinal) > ($8, $9)
    ORDER BY m.lane, m.ordinal LIMIT $10 + 1
), page AS (
    SELECT m.*, row_number() OVER w AS number, sum(m.size_bytes) OVER w AS bytes
    FROM meant AS m WINDOW w AS (ORDER BY m.lane, m.ordinal ROWS UNBOUNDED PRECEDING)
)
SELECT p.ordinal, p.lane, p.created_at, p.message_id, p.topic, p.aggregate_type, p.aggregate_id, p.key, p.payload,
       p.content_type, p.headers, p.partition, p.state, p.attempts, p.class, p.message, p.decision, p.parked_at, p.due_at,
       (SELECT count(*) FROM meant)
FROM page AS n
JOIN eventferry.parked AS p USING (lane, ordinal)
WHERE n.number <= $10 AND (n.bytes <= $11 OR n.number = 1)
ORDER BY p.lane, p.ordinal
