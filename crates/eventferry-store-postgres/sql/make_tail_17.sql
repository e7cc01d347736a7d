-- purpose: make the replication slot, which standbys keep too, and say from where on it has everything. PostgreSQL 17 on.
SELECT (s.lsn - '0/0'::pg_lsn)::bigint
FROM pg_create_logical_replication_slot(eventferry.tail_slot(), 'pgoutput', false, false, true) AS s
