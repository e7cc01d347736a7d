-- purpose: another process that lives under this relay's name.
-- parameters: :relay its name; :incarnation this process, 16 bytes; :now microseconds since 1970.
-- index: the primary key.
SELECT incarnation, beat_at
FROM eventferry_relay
WHERE id = :relay AND incarnation <> :incarnation AND abs(:now - beat_at) < lease
