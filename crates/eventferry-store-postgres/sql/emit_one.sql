-- purpose: emit one event in the caller's transaction: a message in the write-ahead log, and a row of no table.
-- $1-$9 as in enqueue_one.sql.
SELECT eventferry.emit_event($1::uuid, $2::text, $3::text, $4::text, $5::bytea, $6::bytea, $7::text, $8::text::bytea[],
                             $9::integer)
