-- purpose: whether a lane is not as far any more as it was settled under a lease.
-- parameters: ?1 the lane; ?2 the lease's epoch; ?3 the position then.
-- index: the primary key.
SELECT 1 FROM eventferry_lane WHERE lane = ?1 AND epoch = ?2 AND position < ?3
