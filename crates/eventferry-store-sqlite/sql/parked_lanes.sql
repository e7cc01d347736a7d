-- purpose: the lanes that have unsettled parked events, in no order.
-- parameters: none.
-- index: eventferry_parked_lane, from lane to lane.
WITH RECURSIVE parked (lane) AS (
    SELECT min(lane) FROM eventferry_parked INDEXED BY eventferry_parked_lane WHERE settled_at IS NULL
    UNION ALL
    SELECT (
        SELECT min(lane) FROM eventferry_parked INDEXED BY eventferry_parked_lane
        WHERE settled_at IS NULL AND lane > parked.lane
    )
    FROM parked
    WHERE parked.lane IS NOT NULL
)
SELECT lane FROM parked WHERE lane IS NOT NULL
