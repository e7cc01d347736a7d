-- purpose: take lanes that are free or whose owner's heartbeat has run out, lowest first.
-- parameters: :relay the taker; :now microseconds since 1970; :take_max the most lanes.
-- index: none; 1,024 lanes at most, relays by their primary key.
UPDATE eventferry_lane SET owner = :relay, epoch = epoch + 1
WHERE lane IN (
    SELECT lane
    FROM eventferry_lane
    WHERE owner IS NULL
       OR NOT EXISTS (SELECT 1 FROM eventferry_relay WHERE id = owner AND abs(:now - beat_at) < lease)
    ORDER BY lane
    LIMIT :take_max
)
