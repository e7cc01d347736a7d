-- purpose: end whoever still reads from the slot.
-- $1 its process.
SELECT eventferry.end_tail($1)
