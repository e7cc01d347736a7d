-- purpose: beat, free what is not kept, take lanes.
-- $1 relay, $2 incarnation, $3 number of the claim, $4 lease in milliseconds (0: leave), $5 $6 lanes and epochs kept,
-- $7 most lanes to take, $8 whether all are taken or none.
-- index: lane_pkey; beat_relay_at for the newest heartbeat of each relay.
SELECT lanes, epochs, relays_live, lanes_total, rival_until::text
FROM eventferry.hold($1, $2, $3, $4, $5, $6, $7, $8)
