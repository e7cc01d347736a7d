-- purpose: whether any event is parked or was.
-- parameters: none.
-- index: none; the first row of the table.
SELECT EXISTS (SELECT 1 FROM eventferry_parked)
