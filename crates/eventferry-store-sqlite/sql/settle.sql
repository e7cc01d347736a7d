-- purpose: move a lane's position forward and note the settlement; run under the write lock, after fence.sql.
-- parameters: :lane; :position the id of the last event settled in it, 0 if none is; :told the settlement's number;
-- :carries the last transaction that is settled with it, 0 without transactions.
-- index: the primary key.
UPDATE eventferry_lane
SET position = max(position, :position), reached = max(reached, position, :position), told = :told, carries = :carries
WHERE lane = :lane
