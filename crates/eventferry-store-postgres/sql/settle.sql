-- purpose: move positions, where nothing is parked or changed with them.
-- $1 relay; $2 cluster, $3 timeline; $4-$8 lanes, epochs, versions, windows, last ids; $9-$14 windows that may be new;
-- $15 of each lane the last transaction whose intent is settled with this; null: without transactions.
-- index: lane_pkey, position_pkey.
SELECT lane, verdict
FROM eventferry.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text[]::pg_snapshot[], $11::text[]::pg_snapshot[],
                       $12, $13, $14, carries => $15)
