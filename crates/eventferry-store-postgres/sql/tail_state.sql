-- purpose: the slot as it is, and an xid that is above all that was committed before its confirmed place.
SELECT made, present, lost, (confirmed - '0/0'::pg_lsn)::bigint, active_pid, wal_level, horizon::text,
       eventferry.tail_slot()
FROM eventferry.tail_state()
