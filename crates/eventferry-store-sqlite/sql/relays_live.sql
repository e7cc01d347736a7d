-- purpose: how many relays live.
-- parameters: ?1 now, microseconds since 1970.
-- index: none; a row for each relay seen lately.
SELECT count(*) FROM eventferry_relay WHERE abs(?1 - beat_at) < lease
