-- purpose: take lanes of a new outbox away, down to the number asked for.
-- parameters: ?1 number of lanes.
-- index: the primary key.
DELETE FROM eventferry_lane WHERE lane >= ?1
