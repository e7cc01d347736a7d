-- purpose: a lane without a row, if there is one: rows are counted from 0 without a hole.
-- parameters: none.
-- index: none; 1,024 rows at most.
SELECT rank
FROM (SELECT lane, row_number() OVER (ORDER BY lane) - 1 AS rank FROM eventferry_lane)
WHERE lane <> rank
LIMIT 1
