-- purpose: what a client without any library of ours writes, with every escape that has bitten somebody.
-- TOPIC stands for a topic.
BEGIN;
SELECT eventferry.enqueue('TOPIC', 'order', 'jsonb', '{"note": "it''s \"quoted\" in C:\\tmp\n— grüße 🚚"}'::jsonb);
SELECT eventferry.enqueue('TOPIC', 'order', 'text', 'it''s "quoted" in C:\\tmp\n and C:\tmp
on two lines — grüße 🚚');
SELECT eventferry.enqueue('TOPIC', 'order', 'escape', E'it\'s "quoted" in C:\\tmp\n\ttabbed'::text);
SELECT eventferry.enqueue('TOPIC', 'order', 'dollar', $$it's "quoted" in C:\tmp$$);
SELECT eventferry.enqueue('TOPIC', 'order', 'bytea', '\x00ff5c6e0a27'::bytea);
SELECT eventferry.enqueue('TOPIC', 'order', 'empty', '');
SELECT eventferry.enqueue('TOPIC', 'order', 'tombstone', NULL::text);
SELECT eventferry.enqueue('TOPIC', 'order', 'all', '{"total":7}'::text, key => 'k/é', content_type => 'application/json', headers =>
    '{"tenant": "acme", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tenant": "a\"b\\c\né", "none": ""}');
INSERT INTO eventferry.outbox (topic, aggregate_type, aggregate_id, key, payload, content_type, headers, message_id, partition)
VALUES ('TOPIC', 'it''s "a" \ type', 'insert', '\x00ff', convert_to('{"path": "C:\\tmp", "quote": "\""}', 'UTF8'), NULL,
        ARRAY['tenant', 'acme', 'tenant', '\x00ff']::bytea[], '0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f', 0);
INSERT INTO eventferry.outbox (topic, aggregate_type, aggregate_id, headers)
VALUES ('TOPIC', 'order', 'pairs', ARRAY[ARRAY['a', 'b'], ARRAY['c', 'd']]::bytea[]);
SAVEPOINT undone;
SELECT eventferry.enqueue('TOPIC', 'order', 'savepoint', 'never');
ROLLBACK TO undone;
COMMIT;
BEGIN;
SELECT eventferry.enqueue('TOPIC', 'order', 'rolled-back', 'never');
ROLLBACK;
