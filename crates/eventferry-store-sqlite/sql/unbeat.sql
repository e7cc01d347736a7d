-- purpose: a relay that leaves is no longer alive.
-- parameters: ?1 its name.
-- index: the primary key.
DELETE FROM eventferry_relay WHERE id = ?1
