-- purpose: note that the slot was made.
-- $1 from where on it has everything, as a number.
INSERT INTO eventferry.tail (slot, from_lsn) VALUES (eventferry.tail_slot(), '0/0'::pg_lsn + $1::bigint::numeric)
