-- purpose: the highest id ever given out, kept by SQLite for AUTOINCREMENT; no row before the first event.
-- parameters: none.
-- index: none; a row for each table with AUTOINCREMENT.
SELECT seq FROM sqlite_sequence WHERE name = 'eventferry_outbox'
