-- purpose: forget relays that have been gone for long.
-- parameters: ?1 since before when, microseconds since 1970.
-- index: none; a row for each relay seen lately.
DELETE FROM eventferry_relay WHERE beat_at + lease < ?1
