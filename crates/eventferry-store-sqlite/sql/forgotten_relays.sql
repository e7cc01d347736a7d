-- purpose: how many relays have been gone for long.
-- parameters: ?1 since before when, microseconds since 1970.
-- index: none; a row for each relay seen lately.
SELECT count(*) FROM eventferry_relay WHERE beat_at + lease < ?1
