-- purpose: how far a lane was carried.
-- parameters: ?1 the lane.
-- index: the primary key.
SELECT position FROM eventferry_lane WHERE lane = ?1
