-- purpose: parked events whose time has come, decisions to carry out, and when to ask again.
-- $1 cluster, $2 timeline; $3 lanes; $4 topics to leave out; $5 $6 after this lane and ordinal; $7 at most how many
-- events, $8 how many bytes.
-- index: parked_due (lane, topic, due_at), parked_dying (lane, due_at), parked_aggregate, parked_decided, parked_unsettled.
SELECT ordinal, lane, created_at, message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, headers,
       partition, state, attempts, class, message, failed_at, decision, more, next_in_micros
FROM eventferry.due($1, $2, $3, $4, $5, $6, $7, $8)
