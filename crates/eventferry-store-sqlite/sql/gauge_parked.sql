-- purpose: how many events are parked and unsettled in each lane.
-- parameters: none.
-- index: eventferry_parked_lane, which covers it.
SELECT lane, count(*) FROM eventferry_parked INDEXED BY eventferry_parked_lane WHERE settled_at IS NULL GROUP BY lane
