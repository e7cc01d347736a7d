-- purpose: what the server keeps of its write-ahead log for the replication slot, in bytes; how many more may be written
-- before it lets go of that (null: it never does, or has); whether it has. No row: there is no slot.
-- index: none; there are few slots in a cluster.
SELECT pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                       s.restart_lsn)::bigint,
       s.safe_wal_size, coalesce(s.wal_status = 'lost', false)
FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = eventferry.tail_slot()
