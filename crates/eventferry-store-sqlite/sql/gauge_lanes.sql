-- purpose: every lane with its owner and position.
-- parameters: none.
-- index: none; 1,024 rows at most.
SELECT lane, owner, epoch, position FROM eventferry_lane ORDER BY lane
