-- purpose: a settlement of lane 0 that parks an event, up to its commit.
SELECT FROM eventferry.lane WHERE lane = 0 FOR NO KEY UPDATE;
INSERT INTO eventferry.position (lane, version, epoch, read_window, last_id)
SELECT lane, version + 1, epoch, read_window, last_id FROM eventferry.position WHERE lane = 0;
INSERT INTO eventferry.parked (lane, id, created_at, message_id, topic, aggregate_type, aggregate_id)
VALUES (0, 1, now(), gen_random_uuid(), 't', 'test', 'a');
