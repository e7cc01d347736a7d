-- purpose: the application's side: eventferry.enqueue(), and what a role needs to call it.
-- Appends one event to the caller's transaction and returns its message id. Payload as jsonb, text or bytea, byte
-- for byte; null is a tombstone. `headers` is a json object of strings, whose order and repeated names are kept.

CREATE FUNCTION eventferry.headers_of(headers json) RETURNS bytea[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.array_agg(part ORDER BY place, kind)
    FROM (SELECT row_number() OVER () AS place, h.key AS name, h.value FROM pg_catalog.json_each_text($1) AS h) AS header,
         LATERAL (VALUES (0, convert_to(name, 'UTF8')), (1, convert_to(coalesce(value, ''), 'UTF8'))) AS parts (kind, part)
$$;

-- Refuses an event that breaks a limit of the outbox, as its constraints would, but says which event it is and what to
-- do, and never shows the payload: a constraint's own refusal has the whole row in its detail.
CREATE FUNCTION eventferry.refuse(
    topic text, aggregate_type text, aggregate_id text, payload_bytes integer, headers json
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    event text := pg_catalog.format('event for topic "%s", aggregate "%s" "%s": ', left(topic, 249), left(aggregate_type, 249),
                                    left(aggregate_id, 249));
    broken text;
    why text;
BEGIN
    IF char_length(coalesce(topic, '')) NOT BETWEEN 1 AND 249 THEN
        broken := 'topic_has_1_to_249_characters';
        why := 'the topic is empty or longer than 249 characters; name one';
    ELSIF octet_length(coalesce(aggregate_type, '')) NOT BETWEEN 1 AND 1024 THEN
        broken := 'aggregate_type_has_1_to_1024_bytes';
        why := 'the aggregate''s type is empty or longer than 1024 bytes; events are ordered by it, so name one';
    ELSIF octet_length(coalesce(aggregate_id, '')) NOT BETWEEN 1 AND 1024 THEN
        broken := 'aggregate_id_has_1_to_1024_bytes';
        why := 'the aggregate''s id is empty or longer than 1024 bytes; events are ordered by it, so name one';
    ELSIF payload_bytes > 16777216 THEN
        broken := 'payload_has_at_most_16_mib';
        why := pg_catalog.format('the payload has %s bytes, over the limit of 16777216; store it elsewhere and send a reference',
                                 payload_bytes);
    ELSE
        broken := 'headers_are_names_and_values';
        why := 'the headers are no JSON object; give one like {"tenant": "acme"}';
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = broken, SCHEMA = 'eventferry', TABLE = 'outbox',
        MESSAGE = event || why;
END
$$;

CREATE FUNCTION eventferry.enqueue(
    topic text, aggregate_type text, aggregate_id text, payload bytea,
    key text DEFAULT NULL, headers json DEFAULT NULL, content_type text DEFAULT 'application/octet-stream'
) RETURNS uuid LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    message_id uuid := pg_catalog.gen_random_uuid();
BEGIN
    IF (char_length($1) BETWEEN 1 AND 249
        AND octet_length($2) BETWEEN 1 AND 1024
        AND octet_length($3) BETWEEN 1 AND 1024
        AND coalesce(octet_length($4), 0) <= 16777216
        AND coalesce(pg_catalog.json_typeof($6), 'object') = 'object') IS NOT TRUE THEN
        PERFORM eventferry.refuse($1, $2, $3, octet_length($4), $6);
    END IF;
    INSERT INTO eventferry.outbox (message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, headers)
    VALUES (message_id, $1, $2, $3, pg_catalog.convert_to($5, 'UTF8'), $4,
            CASE WHEN $4 IS NOT NULL THEN $7 END,
            CASE WHEN $6 IS NOT NULL THEN eventferry.headers_of($6) END);
    RETURN message_id;
END
$$;

CREATE FUNCTION eventferry.enqueue(
    topic text, aggregate_type text, aggregate_id text, payload text,
    key text DEFAULT NULL, headers json DEFAULT NULL, content_type text DEFAULT 'text/plain; charset=utf-8'
) RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT eventferry.enqueue($1, $2, $3, pg_catalog.convert_to($4, 'UTF8'), $5, $6, $7)
$$;

CREATE FUNCTION eventferry.enqueue(
    topic text, aggregate_type text, aggregate_id text, payload jsonb,
    key text DEFAULT NULL, headers json DEFAULT NULL, content_type text DEFAULT 'application/json'
) RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT eventferry.enqueue($1, $2, $3, pg_catalog.convert_to($4::text, 'UTF8'), $5, $6, $7)
$$;

-- What an application's role needs: to add events in its own columns, so that it can forge neither id nor xid.
CREATE FUNCTION eventferry.grant_application(role regrole) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA eventferry TO %s', role);
    EXECUTE format('GRANT USAGE ON SEQUENCE eventferry.outbox_id TO %s', role);
    EXECUTE format('GRANT INSERT (message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, '
                   'headers, partition) ON eventferry.outbox TO %s', role);
END
$$;

-- What a relay's role needs: to read and truncate the log, and to keep its own books.
CREATE FUNCTION eventferry.grant_relay(role regrole) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    slot integer;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA eventferry TO %s', role);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA eventferry TO %s', role);
    EXECUTE format('GRANT SELECT ON SEQUENCE eventferry.outbox_id TO %s', role);
    EXECUTE format('GRANT INSERT, UPDATE, DELETE ON eventferry.lane, eventferry.relay, eventferry.beat, '
                   'eventferry.read_window, eventferry.position, eventferry.anchor, eventferry.history, '
                   'eventferry.parked TO %s', role);
    FOR slot IN 0 .. eventferry.slots() - 1 LOOP
        EXECUTE format('GRANT TRUNCATE ON eventferry.outbox_%s TO %s', slot, role);
    END LOOP;
END
$$;
