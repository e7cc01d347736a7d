-- purpose: where lanes stand.
-- $1 lanes.
-- index: position_pkey (lane, version), read backwards for the newest of each lane.
SELECT lane, version, last_id, read_window, prev::text, cur::text, floor, late_floor, restored_through,
       (lsn - '0/0'::pg_lsn)::bigint, ordinal, newest_id
FROM eventferry.positions($1)
