-- purpose: move a lane's position forward; run under the write lock, after fence.sql.
-- parameters: :lane; :position the id of the last event settled in it.
-- index: the primary key.
UPDATE eventferry_lane SET position = :position WHERE lane = :lane AND position < :position
