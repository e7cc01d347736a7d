-- purpose: how many events are parked in each lane.
-- parameters: none.
-- index: eventferry_parked_lane, which covers it.
SELECT lane, count(*) FROM eventferry_parked GROUP BY lane
