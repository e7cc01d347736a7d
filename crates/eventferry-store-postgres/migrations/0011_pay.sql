-- purpose: what an application pays for an event; and a session that has the slot is ended only if it reads from it.

-- As before, in another language: a body in SQL was made ready anew for each row. This one is read by each session that
-- inserts, under its settings: so nothing in it depends on them, be it the search path or what a backslash means.
CREATE OR REPLACE FUNCTION eventferry.lane_hash(aggregate_type text, aggregate_id text) RETURNS integer
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN ('x' OPERATOR(pg_catalog.||) pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(
        pg_catalog.convert_to(aggregate_type, 'UTF8') OPERATOR(pg_catalog.||) pg_catalog.decode('00', 'hex')
        OPERATOR(pg_catalog.||) pg_catalog.convert_to(aggregate_id, 'UTF8')), 1, 2), 'hex'))::bit(16)::integer;
END
$$;

-- As before, and: the slot is asked for in one statement, without a function beside it.
CREATE OR REPLACE FUNCTION eventferry.emit_event(
    message_id uuid, topic text, aggregate_type text, aggregate_id text, key bytea, payload bytea, content_type text,
    headers bytea[], partition integer
) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Without a slot, nobody would ever read it. Its name is what eventferry.tail_slot() says.
    IF NOT EXISTS (SELECT FROM pg_replication_slots AS s
                   WHERE s.database = current_database() AND s.slot_name = 'eventferry_' || s.datoid
                   AND s.wal_status IS DISTINCT FROM 'lost') THEN
        RAISE EXCEPTION 'eventferry.emit: this database has no replication slot of eventferry''s, so the event would be lost'
        USING ERRCODE = 'EF003', HINT = 'run eventferry init --tail, or use eventferry.enqueue()';
    END IF;
    IF (char_length(topic) BETWEEN 1 AND 249
        AND octet_length(aggregate_type) BETWEEN 1 AND 1024
        AND octet_length(aggregate_id) BETWEEN 1 AND 1024
        AND coalesce(octet_length(payload), 0) <= 16777216
        AND coalesce(partition, 0) >= 0
        AND coalesce(cardinality(headers), 0) % 2 = 0) IS NOT TRUE THEN
        PERFORM eventferry.refuse(topic, aggregate_type, aggregate_id, octet_length(payload), NULL);
    END IF;
    PERFORM pg_logical_emit_message(true, 'eventferry', record_send(ROW(
        pg_current_xact_id(), nextval('eventferry.outbox_id'), clock_timestamp(), coalesce(message_id, gen_random_uuid()),
        topic, aggregate_type, aggregate_id, key, payload, CASE WHEN payload IS NOT NULL THEN content_type END, headers,
        partition)));
END
$$;

-- Ends whoever still reads from the slot, its former owner, whose lease is over; or who is still making it, which takes as
-- long as the longest transaction, and can be begun again by whoever needs it. A session that drops the slot, or looks into
-- it, has it for a moment, too: that is a person's, and stays.
CREATE OR REPLACE FUNCTION eventferry.end_tail(pid integer) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT pg_catalog.pg_terminate_backend(s.active_pid) FROM pg_catalog.pg_replication_slots AS s
    WHERE s.slot_name = eventferry.tail_slot() AND s.active_pid = $1
    AND (s.confirmed_flush_lsn IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_stat_replication AS r WHERE r.pid = s.active_pid))
$$;
