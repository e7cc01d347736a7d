-- purpose: ring once, to see whether a session that listens hears it.
-- $1 a word to know the ring by.
SELECT pg_notify('eventferry_probe', $1)
