-- purpose: how many lanes the outbox has.
-- parameters: none.
-- index: none; 1,024 rows at most.
SELECT count(*) FROM eventferry_lane
