-- purpose: every lane with its owner, lag and unsettled parked events, and the clock.
-- $1 most events to count.
-- index: outbox_pkey from the first id that may be unsettled; parked_unsettled.
SELECT l.lane, l.owner, l.epoch, coalesce(g.lag_records, 0), g.oldest,
       (SELECT count(*) FROM eventferry.parked AS p WHERE p.lane = l.lane AND p.settled_at IS NULL), clock_timestamp()
FROM eventferry.lane AS l LEFT JOIN eventferry.lag($1) AS g ON g.lane = l.lane
ORDER BY l.lane
