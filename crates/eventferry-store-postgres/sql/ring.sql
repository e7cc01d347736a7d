-- purpose: how many slots the ring has, how long each is written to, in seconds, and which to empty.
-- $1 retention in seconds.
SELECT slots, slot_seconds, old FROM eventferry.old_slots($1 * interval '1 second')
