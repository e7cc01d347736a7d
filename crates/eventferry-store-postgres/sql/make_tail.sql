-- purpose: make the replication slot, and say from where on it has everything. PostgreSQL 14 to 16.
SELECT (s.lsn - '0/0'::pg_lsn)::bigint
FROM pg_create_logical_replication_slot(eventferry.tail_slot(), 'pgoutput', false, false) AS s
