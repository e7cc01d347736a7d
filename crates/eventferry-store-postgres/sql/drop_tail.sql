-- purpose: drop the replication slot.
SELECT pg_drop_replication_slot(eventferry.tail_slot())
