-- purpose: the lanes whose row names a relay.
-- parameters: ?1 the relay's name.
-- index: none; 1,024 rows at most.
SELECT lane, epoch FROM eventferry_lane WHERE owner = ?1 ORDER BY lane
