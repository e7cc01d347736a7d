-- purpose: move positions, change parked events, park events.
-- $1-$14 as in settle.sql; $15 what each lane is told beside its position, as a number; $16-$21 lanes, ids, states,
-- pauses in microseconds, classes and messages of events to park; $22-$29 lanes, ordinals, rounds, changes, pauses in
-- microseconds, attempts, classes and messages of parked events that change; $30 as $15 there.
-- index: lane_pkey, position_pkey, outbox_pkey for events to park, parked_pkey for those that change.
SELECT lane, verdict
FROM eventferry.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text[]::pg_snapshot[], $11::text[]::pg_snapshot[],
                       $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29,
                       carries => $30)
