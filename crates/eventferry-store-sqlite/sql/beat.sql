-- purpose: renew a relay's heartbeat.
-- parameters: :relay its name; :incarnation its process, 16 bytes; :now, :lease microseconds; :whole whether it takes
-- all lanes or none.
-- index: the primary key.
INSERT INTO eventferry_relay (id, incarnation, beat_at, lease, whole)
VALUES (:relay, :incarnation, :now, :lease, :whole)
ON CONFLICT (id) DO UPDATE
SET incarnation = excluded.incarnation, beat_at = excluded.beat_at, lease = excluded.lease, whole = excluded.whole
