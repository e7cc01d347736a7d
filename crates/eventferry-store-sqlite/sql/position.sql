-- purpose: how far a lane was carried, and how far it had ever been.
-- parameters: ?1 the lane.
-- index: the primary key.
SELECT position, reached FROM eventferry_lane WHERE lane = ?1
