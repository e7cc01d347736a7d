-- purpose: give a new outbox the lanes it lacks, up to the number asked for.
-- parameters: ?1 number of lanes, 1 or more.
-- index: the primary key.
INSERT OR IGNORE INTO eventferry_lane (lane)
WITH RECURSIVE n (lane) AS (SELECT 0 UNION ALL SELECT lane + 1 FROM n WHERE lane + 1 < ?1)
SELECT lane FROM n
