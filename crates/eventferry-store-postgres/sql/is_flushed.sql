-- purpose: say whether the write-ahead log is on disk up to a place.
-- $1 the place, as text.
SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn
