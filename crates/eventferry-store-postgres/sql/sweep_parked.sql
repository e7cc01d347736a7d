-- purpose: remove parked events that were settled longer than the retention ago.
-- $1 retention in seconds; $2 at most how many.
-- index: parked_settled (settled_at).
SELECT eventferry.sweep_parked($1 * interval '1 second', $2)
