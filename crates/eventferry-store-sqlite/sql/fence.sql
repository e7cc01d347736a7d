-- purpose: where a lane is and what it was told last, if it is still held under this lease; run under the write lock.
-- parameters: :lane; :owner the relay; :epoch the lease's.
-- index: the primary key.
SELECT position, told FROM eventferry_lane WHERE lane = :lane AND owner = :owner AND epoch = :epoch
