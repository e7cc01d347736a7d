-- purpose: set how long each slot of the ring is written to.
-- $1 seconds, at least 1.
SELECT eventferry.set_slot_seconds($1)
