-- purpose: write down what a transaction of the broker's settles when it is committed.
-- $1-$42 as in settle_tail.sql, of which $5 and $6 are not needed and a last id of -1 means that the lane stays where it is;
-- $43 number, $44 nonce, $45 number of the transaction before, $46 up to which number all is settled; $47-$48 lanes and
-- epochs that must be held.
-- index: lane_pkey, intent_pkey.
SELECT eventferry.intend($1, $2, $3, $43, $44, $45, $46, $47, $48,
                         $4, $7, $8, $9, $10::text[]::pg_snapshot[], $11::text[]::pg_snapshot[], $12, $13, $14,
                         $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29,
                         ARRAY(SELECT '0/0'::pg_lsn + l.lsn::numeric
                               FROM unnest($30::bigint[]) WITH ORDINALITY AS l (lsn, place) ORDER BY l.place),
                         $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42)
