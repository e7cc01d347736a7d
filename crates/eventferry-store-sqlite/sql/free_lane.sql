-- purpose: give a lane up; the next owner raises its epoch.
-- parameters: ?1 the lane.
-- index: the primary key.
UPDATE eventferry_lane SET owner = NULL WHERE lane = ?1
