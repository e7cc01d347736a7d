-- purpose: note who decided what on a parked event, and why.
-- parameters: :ordinal its place; :now microseconds since 1970; :who; :why; :what was decided.
-- index: the primary key.
INSERT INTO eventferry_audit (at, who, why, what, ordinal, message_id, topic, aggregate_type, aggregate_id)
SELECT :now, :who, :why, :what, ordinal, message_id, topic, aggregate_type, aggregate_id
FROM eventferry_parked
WHERE ordinal = :ordinal
