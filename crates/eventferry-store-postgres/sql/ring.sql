-- purpose: the ring's number of slots and how long each is written to, in seconds.
SELECT eventferry.slots(), eventferry.slot_seconds()
