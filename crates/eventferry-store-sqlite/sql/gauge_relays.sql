-- purpose: the relays seen lately.
-- parameters: ?1 now, microseconds since 1970.
-- index: the primary key.
SELECT id, beat_at, abs(?1 - beat_at) < lease FROM eventferry_relay ORDER BY id
