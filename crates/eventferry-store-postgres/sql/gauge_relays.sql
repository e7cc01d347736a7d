-- purpose: relays seen lately, with their last heartbeat.
-- index: relay_pkey; beat_relay_at, read backwards.
SELECT r.id, b.at, b.until > clock_timestamp()
FROM eventferry.relay AS r
CROSS JOIN LATERAL (SELECT * FROM eventferry.beat AS b WHERE b.relay = r.id ORDER BY b.at DESC LIMIT 1) AS b
ORDER BY r.id
