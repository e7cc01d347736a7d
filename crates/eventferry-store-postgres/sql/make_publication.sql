-- purpose: make the publication that the log's tail is read by: what is added to the outbox, whichever slot of the ring
-- it is added to. Emptied slots are none of its business.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication AS p WHERE p.pubname = 'eventferry') THEN
        CREATE PUBLICATION eventferry FOR TABLE eventferry.outbox
        WITH (publish = 'insert', publish_via_partition_root = true);
    END IF;
END
$$
