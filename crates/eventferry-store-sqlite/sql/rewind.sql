-- purpose: begin a lane anew whose position lies beyond every event, or whose row was put back by hand: any event up
-- to the last one may be parked already, whatever id it had then.
-- parameters: ?1 the lane; ?2 its epoch; ?3 the last id given out.
-- index: the primary key.
UPDATE eventferry_lane SET position = 0, reached = ?3
WHERE lane = ?1 AND epoch = ?2 AND (position > ?3 OR position = 0)
