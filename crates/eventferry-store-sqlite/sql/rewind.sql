-- purpose: begin a lane anew whose position lies beyond every event.
-- parameters: ?1 the lane; ?2 its epoch; ?3 the last id given out.
-- index: the primary key.
UPDATE eventferry_lane SET position = 0 WHERE lane = ?1 AND epoch = ?2 AND position > ?3
