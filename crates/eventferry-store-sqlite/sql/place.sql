-- purpose: where a lane is, and the last transaction that is settled with it.
-- parameters: ?1 the lane.
-- index: the primary key.
SELECT position, carries FROM eventferry_lane WHERE lane = ?1
