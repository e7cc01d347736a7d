-- purpose: whether a relay that lives, and is another, owns a lane.
-- parameters: :relay this one's name; :now microseconds since 1970.
-- index: none; 1,024 lanes at most, relays by their primary key.
SELECT EXISTS (
    SELECT 1 FROM eventferry_lane AS lane JOIN eventferry_relay AS relay ON relay.id = lane.owner
    WHERE lane.owner <> :relay AND abs(:now - relay.beat_at) < relay.lease
)
