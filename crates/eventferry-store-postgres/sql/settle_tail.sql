-- purpose: move positions in the log's tail, change parked events, park events that come with their columns.
-- $1-$29 as in settle_parked.sql; $30 commit places, as numbers, $31 ordinals, $32 greatest ids of lanes; $33-$42 of events
-- to park: times in microseconds since 1970, message ids, topics, aggregate types and ids, keys, payloads, content types,
-- headers (each a bytea array in its text form), partitions; $43 as $15 in settle.sql.
-- index: lane_pkey, position_pkey, parked_pkey for those that change.
SELECT lane, verdict
FROM eventferry.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text[]::pg_snapshot[], $11::text[]::pg_snapshot[],
                       $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29,
                       ARRAY(SELECT '0/0'::pg_lsn + l.lsn::numeric
                             FROM unnest($30::bigint[]) WITH ORDINALITY AS l (lsn, place) ORDER BY l.place),
                       $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43)
