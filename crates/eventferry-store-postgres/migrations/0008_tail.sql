-- purpose: the log's tail: events carried from the write-ahead log, by logical replication.

-- Where the tail of the log has been carried to: everything of transactions whose commit lies before `lsn`, and of the one
-- that lies at it the first `ordinal` events. Null: this lane is read through windows. The window beside it holds too:
-- all that its `cur` shows is settled, so that whoever reads windows, and retention, may go by that alone.
-- newest_id: the greatest id among what was settled, for stock-taking.
ALTER TABLE eventferry.position
    ADD COLUMN lsn pg_lsn,
    ADD COLUMN ordinal bigint,
    ADD COLUMN newest_id bigint,
    ADD CONSTRAINT ordinal_goes_with_lsn CHECK ((lsn IS NULL) = (ordinal IS NULL));

-- As before, and: with the place in the log's tail.
DROP FUNCTION eventferry.positions(integer[]);
CREATE FUNCTION eventferry.positions(of_lanes integer[])
RETURNS TABLE (
    lane integer, version bigint, last_id bigint, read_window uuid, prev pg_snapshot, cur pg_snapshot,
    floor bigint, late_floor bigint, restored_through bigint, lsn pg_lsn, ordinal bigint, newest_id bigint
) LANGUAGE sql VOLATILE
SET enable_seqscan = off AS $$
    SELECT l.lane, p.version, p.last_id, w.id, w.prev, w.cur, w.floor, w.late_floor, w.restored_through, p.lsn, p.ordinal,
           p.newest_id
    FROM unnest($1) AS l (lane)
    CROSS JOIN LATERAL (
        SELECT * FROM eventferry.position AS p WHERE p.lane = l.lane ORDER BY p.version DESC LIMIT 1) AS p
    JOIN eventferry.read_window AS w ON w.id = p.read_window
    ORDER BY l.lane
$$;

-- Whether a relay takes all lanes or none.
ALTER TABLE eventferry.beat ADD COLUMN whole boolean NOT NULL DEFAULT false;

DROP FUNCTION eventferry.hold(text, uuid, bigint, bigint, integer[], bigint[], integer);
-- As before, and: with `whole`, all lanes are taken or none.
CREATE FUNCTION eventferry.hold(
    relay text, incarnation uuid, claim bigint, lease_ms bigint, keep_lanes integer[], keep_epochs bigint[], take_max integer, whole boolean,
    OUT lanes integer[], OUT epochs bigint[], OUT relays_live bigint, OUT lanes_total bigint, OUT rival_until timestamptz
) LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me text := relay;
    my_incarnation uuid := incarnation;
    my_claim bigint := claim;
    is_whole boolean := whole;
    wanted integer := greatest(take_max, 0);
    due boolean;
BEGIN
    PERFORM eventferry.require_read_committed();
    PERFORM set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';

    SELECT b.until INTO rival_until
    FROM (SELECT * FROM eventferry.beat AS b WHERE b.relay = me ORDER BY b.at DESC LIMIT 1) AS b
    WHERE b.incarnation <> my_incarnation AND b.until > clock_timestamp();
    IF FOUND THEN
        RETURN;
    END IF;

    INSERT INTO eventferry.relay (id) VALUES (me) ON CONFLICT DO NOTHING;
    INSERT INTO eventferry.beat (relay, until, incarnation, claim, whole)
    VALUES (me, clock_timestamp() + lease_ms * interval '1 millisecond', my_incarnation, my_claim, is_whole);

    SELECT take_max > 0 OR EXISTS (
        SELECT FROM eventferry.lane AS l LEFT JOIN unnest(keep_lanes, keep_epochs) AS k (lane, epoch) USING (lane)
        WHERE l.owner = me AND l.epoch IS DISTINCT FROM k.epoch) INTO due;
    IF due THEN
        -- One relay at a time changes owners, and what it looks at is looked at after the lock is held: a statement
        -- that waits for a row lock sees that row new and everything else old.
        PERFORM pg_advisory_xact_lock(hashtextextended('eventferry.lane', 0));
        -- A claim whose connection was lost may come after a later one of the same process: it knows nothing of the lanes
        -- taken since, and would free them while they are worked on. Nobody waits for its answer.
        PERFORM FROM (SELECT b.claim FROM eventferry.beat AS b
                      WHERE b.relay = me AND b.incarnation = my_incarnation ORDER BY b.at DESC LIMIT 100) AS lately
        WHERE lately.claim > my_claim;
        IF NOT FOUND THEN
            UPDATE eventferry.lane AS l SET owner = NULL
            WHERE l.owner = me AND NOT EXISTS (
                SELECT FROM unnest(keep_lanes, keep_epochs) AS k (lane, epoch) WHERE k.lane = l.lane AND k.epoch = l.epoch);
            -- Whoever reads the log's tail has all lanes or none: there is one slot.
            IF is_whole AND wanted > 0 THEN
                SELECT count(*) INTO wanted FROM eventferry.lane;
                PERFORM FROM eventferry.lane AS l WHERE l.owner <> me AND eventferry.relay_lives(l.owner);
                IF FOUND THEN
                    wanted := 0;
                END IF;
            END IF;
            UPDATE eventferry.lane AS l SET owner = me, epoch = l.epoch + 1
            FROM (SELECT c.lane FROM eventferry.lane AS c
                  WHERE c.owner IS NULL OR (c.owner <> me AND NOT eventferry.relay_lives(c.owner))
                  ORDER BY c.lane LIMIT wanted FOR UPDATE SKIP LOCKED) AS free
            WHERE l.lane = free.lane;
        END IF;
    ELSE
        -- Whoever takes over is done, or will see this heartbeat: else a late one and its successor would both be told
        -- that a lane is theirs.
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('eventferry.lane', 0));
    END IF;

    SELECT coalesce(array_agg(l.lane ORDER BY l.lane), '{}'), coalesce(array_agg(l.epoch ORDER BY l.lane), '{}')
    INTO lanes, epochs FROM eventferry.lane AS l WHERE l.owner = me;
    -- Relays that share lanes leave none for one that would not take it: who waits for all lanes has no share.
    SELECT count(*) FILTER (WHERE eventferry.relay_lives(r.id) AND (
        is_whole OR r.id = me OR NOT coalesce((SELECT b.whole FROM eventferry.beat AS b WHERE b.relay = r.id
                                               ORDER BY b.at DESC LIMIT 1), false)))
    INTO relays_live FROM eventferry.relay AS r;
    SELECT count(*) INTO lanes_total FROM eventferry.lane;
END
$$;

DROP FUNCTION eventferry.settle(text, bigint, integer, integer[], bigint[], bigint[], uuid[], bigint[], uuid[], pg_snapshot[],
                                pg_snapshot[], bigint[], bigint[], bigint[], bigint[], integer[], bigint[], text[], bigint[],
                                text[], text[], integer[], bigint[], integer[], text[], bigint[], integer[], text[], text[]);
-- As before, and: places in the log's tail beside the windows, and columns of events to park that came from there.
CREATE FUNCTION eventferry.settle(
    relay text, system_identifier bigint, timeline integer,
    lanes integer[], epochs bigint[], versions bigint[], windows uuid[], last_ids bigint[],
    new_windows uuid[], prevs pg_snapshot[], curs pg_snapshot[], floors bigint[], late_floors bigint[], restored bigint[],
    tellings bigint[] DEFAULT '{}',
    park_lanes integer[] DEFAULT '{}', park_ids bigint[] DEFAULT '{}', park_as text[] DEFAULT '{}',
    park_pauses bigint[] DEFAULT '{}', park_classes text[] DEFAULT '{}', park_messages text[] DEFAULT '{}',
    change_lanes integer[] DEFAULT '{}', change_ordinals bigint[] DEFAULT '{}', change_rounds integer[] DEFAULT '{}',
    changes text[] DEFAULT '{}', change_pauses bigint[] DEFAULT '{}', change_attempts integer[] DEFAULT '{}',
    change_classes text[] DEFAULT '{}', change_messages text[] DEFAULT '{}',
    lsns pg_lsn[] DEFAULT '{}', ordinals bigint[] DEFAULT '{}', newest_ids bigint[] DEFAULT '{}',
    park_created bigint[] DEFAULT '{}', park_message_ids uuid[] DEFAULT '{}', park_topics text[] DEFAULT '{}',
    park_types text[] DEFAULT '{}', park_aggregates text[] DEFAULT '{}', park_keys bytea[] DEFAULT '{}',
    park_payloads bytea[] DEFAULT '{}', park_content_types text[] DEFAULT '{}', park_headers text[] DEFAULT '{}',
    park_partitions integer[] DEFAULT '{}'
) RETURNS TABLE (lane integer, verdict text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    moved integer[];
    moment timestamptz;
    of_lanes integer[];
    of_types text[];
    of_ids text[];
BEGIN
    PERFORM eventferry.require_read_committed();
    PERFORM FROM eventferry.current_history() AS h
    WHERE h.system_identifier = settle.system_identifier AND h.timeline = settle.timeline;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the database''s history is not the one these positions speak of' USING ERRCODE = 'EF002';
    END IF;

    -- The fence: whoever would take one of these lanes waits until this commits, or is seen to have it already.
    PERFORM FROM eventferry.lane AS l WHERE l.lane = ANY (lanes) ORDER BY l.lane FOR NO KEY UPDATE;

    INSERT INTO eventferry.read_window (id, prev, cur, floor, late_floor, restored_through)
    SELECT * FROM unnest(new_windows, prevs, curs, floors, late_floors, restored) ON CONFLICT DO NOTHING;

    -- The version that was read before names the only row this one may follow: what a lost connection had sent
    -- comes too late.
    WITH told AS (
        SELECT t.lane, t.epoch, t.version, t.read_window, t.last_id, coalesce(t.telling, 0) AS telling,
               t.lsn, t.ordinal, t.newest_id
        FROM unnest(lanes, epochs, versions, windows, last_ids, tellings, lsns, ordinals, newest_ids)
             AS t (lane, epoch, version, read_window, last_id, telling, lsn, ordinal, newest_id)
        JOIN eventferry.lane AS l ON l.lane = t.lane AND l.owner = relay AND l.epoch = t.epoch
        WHERE t.version = (SELECT p.version FROM eventferry.position AS p WHERE p.lane = t.lane
                           ORDER BY p.version DESC LIMIT 1)
    ), inserted AS (
        INSERT INTO eventferry.position AS p (lane, version, epoch, read_window, last_id, told, lsn, ordinal, newest_id)
        SELECT t.lane, t.version + 1, t.epoch, t.read_window, t.last_id, t.telling, t.lsn, t.ordinal, t.newest_id
        FROM told AS t
        RETURNING p.lane
    )
    SELECT coalesce(array_agg(i.lane), '{}') INTO moved FROM inserted AS i;

    IF cardinality(change_lanes) > 0 THEN
        moment := clock_timestamp();
        -- In the order of keys, as people's decisions do, so that neither waits for the other in a circle.
        PERFORM FROM unnest(change_lanes, change_ordinals) AS c (lane, ordinal)
        JOIN eventferry.parked AS p ON p.lane = c.lane AND p.ordinal = c.ordinal
        WHERE p.lane = ANY (moved) AND p.settled_at IS NULL
        ORDER BY p.lane, p.ordinal FOR NO KEY UPDATE OF p;
        FOR pass IN 1 .. (SELECT max(r) FROM unnest(change_rounds) AS r) LOOP
            UPDATE eventferry.parked AS p
            SET state = eventferry.state_after(p.state, c.change),
                due_at = eventferry.due_after(p.state, p.due_at, c.change, c.pause, moment),
                attempts = CASE WHEN p.state NOT IN ('topic', 'waiting') THEN p.attempts
                                WHEN c.change = 'retried' THEN 0 ELSE coalesce(c.attempts, p.attempts) END,
                class = CASE WHEN p.state IN ('topic', 'waiting') THEN coalesce(c.class, p.class) ELSE p.class END,
                message = CASE WHEN p.state IN ('topic', 'waiting') THEN coalesce(left(c.message, 1000), p.message)
                               ELSE p.message END,
                failed_at = CASE WHEN p.state IN ('topic', 'waiting') AND c.change LIKE 'refused%' THEN moment
                                 ELSE p.failed_at END,
                decision = CASE WHEN c.change IN ('retried', 'decision_refused', 'shipped', 'dead_lettered', 'discarded')
                                THEN NULL ELSE p.decision END,
                settled_at = CASE WHEN c.change IN ('shipped', 'dead_lettered', 'discarded') THEN moment END
            FROM unnest(change_lanes, change_ordinals, change_rounds, changes, change_pauses, change_attempts,
                        change_classes, change_messages)
                 AS c (lane, ordinal, round, change, pause, attempts, class, message)
            WHERE c.round = pass AND p.lane = c.lane AND p.ordinal = c.ordinal AND p.lane = ANY (moved)
              AND p.settled_at IS NULL
              -- A refusal with fewer attempts than count comes late.
              AND (c.change NOT LIKE 'refused%' OR c.attempts >= p.attempts);
        END LOOP;
        SELECT array_agg(p.lane), array_agg(p.aggregate_type), array_agg(p.aggregate_id) INTO of_lanes, of_types, of_ids
        FROM unnest(change_lanes, change_ordinals, change_rounds) AS c (lane, ordinal, round)
        JOIN eventferry.parked AS p ON p.lane = c.lane AND p.ordinal = c.ordinal
        WHERE c.round = 1 AND p.lane = ANY (moved) AND p.settled_at IS NOT NULL;
        PERFORM eventferry.first_is_due(of_lanes, of_types, of_ids, moment);
    END IF;

    IF cardinality(park_ids) > 0 THEN
        moment := clock_timestamp();
        WITH added AS (
            INSERT INTO eventferry.parked AS p (lane, id, created_at, message_id, topic, aggregate_type, aggregate_id, key,
                                                payload, content_type, headers, partition, parked_at, state,
                                                due_at, attempts, class, message, failed_at)
            SELECT k.lane, k.id, e.created_at, e.message_id, e.topic, e.aggregate_type, e.aggregate_id, e.key,
                   e.payload, e.content_type, e.headers, e.partition, moment, eventferry.state_after('topic', k.park_as),
                   CASE k.park_as WHEN 'topic_held' THEN moment WHEN 'behind' THEN NULL
                        ELSE eventferry.due_after('topic', NULL, k.park_as, k.pause, moment) END,
                   CASE WHEN k.park_as LIKE 'refused%' THEN 1 ELSE 0 END, k.class, left(k.message, 1000),
                   CASE WHEN k.class IS NOT NULL THEN moment END
            FROM unnest(park_lanes, park_ids, park_as, park_pauses, park_classes, park_messages, park_created,
                        park_message_ids, park_topics, park_types, park_aggregates, park_keys, park_payloads,
                        park_content_types, park_headers, park_partitions) WITH ORDINALITY
                 AS k (lane, id, park_as, pause, class, message, created, message_id, topic, aggregate_type, aggregate_id,
                       key, payload, content_type, headers, partition, place)
            -- What came from the log's tail comes with its columns: it may be in no table.
            CROSS JOIN LATERAL (
                SELECT o.created_at, o.message_id, o.topic, o.aggregate_type, o.aggregate_id, o.key, o.payload,
                       o.content_type, o.headers, o.partition
                FROM eventferry.outbox AS o WHERE o.id = k.id AND k.message_id IS NULL
                UNION ALL
                SELECT timestamptz '1970-01-01 00:00:00+00' + k.created * interval '1 microsecond', k.message_id, k.topic,
                       k.aggregate_type, k.aggregate_id, k.key, k.payload, k.content_type, k.headers::bytea[], k.partition
                WHERE k.message_id IS NOT NULL
            ) AS e
            WHERE k.lane = ANY (moved)
            ORDER BY k.place
            ON CONFLICT DO NOTHING
            RETURNING p.lane, p.aggregate_type, p.aggregate_id, p.due_at
        )
        SELECT array_agg(a.lane), array_agg(a.aggregate_type), array_agg(a.aggregate_id) INTO of_lanes, of_types, of_ids
        FROM added AS a WHERE a.due_at IS NULL;
        -- What it was to wait behind may be settled by now.
        PERFORM eventferry.first_is_due(of_lanes, of_types, of_ids, moment);
    END IF;

    RETURN QUERY
    SELECT t.lane, CASE
        WHEN t.lane = ANY (moved) THEN 'done'
        WHEN p.version = t.version + 1 AND p.epoch = t.epoch AND p.read_window = t.read_window
             AND p.last_id = t.last_id AND p.told = coalesce(t.telling, 0)
             AND p.lsn IS NOT DISTINCT FROM t.lsn AND p.ordinal IS NOT DISTINCT FROM t.ordinal THEN 'done'
        WHEN l.owner IS DISTINCT FROM relay OR l.epoch <> t.epoch THEN 'fenced'
        ELSE 'stale' END
    FROM unnest(lanes, epochs, versions, windows, last_ids, tellings, lsns, ordinals) WITH ORDINALITY
         AS t (lane, epoch, version, read_window, last_id, telling, lsn, ordinal, place)
    LEFT JOIN eventferry.lane AS l ON l.lane = t.lane
    LEFT JOIN LATERAL (SELECT * FROM eventferry.position AS p WHERE p.lane = t.lane
                       ORDER BY p.version DESC LIMIT 1) AS p ON true
    ORDER BY t.place;
    -- The log is read as far as it is durable; so are the books on it.
    PERFORM set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
END
$$;

-- As before, and: what the tail has carried beyond its window is not counted.
CREATE OR REPLACE FUNCTION eventferry.lag(most bigint)
RETURNS TABLE (lane integer, lag_records bigint, oldest timestamptz) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET max_parallel_workers_per_gather = 0
SET jit = off
AS $$
DECLARE
    lanes integer := (SELECT count(*) FROM eventferry.lane);
    start bigint := (SELECT u.id FROM eventferry.unsettled_from() AS u);
BEGIN
    RETURN QUERY
    WITH stands AS MATERIALIZED (
        SELECT s, coalesce((SELECT p.newest_id FROM eventferry.position AS p WHERE p.lane = s.lane
                            ORDER BY p.version DESC LIMIT 1), 0) AS newest_id
        FROM eventferry.stands() AS s
    ), unsettled AS (
        SELECT (s.s).lane, o.created_at
        FROM eventferry.outbox AS o JOIN stands AS s ON (s.s).lane = o.lane_hash % lanes
        WHERE o.id > start AND NOT eventferry.is_settled(o.xid, o.id, s.s)
          -- About so: the tail comes in the order of commits, and an id below may be of a later one.
          AND o.id > s.newest_id
        LIMIT most
    )
    SELECT u.lane, count(*), min(u.created_at) FROM unsettled AS u GROUP BY u.lane;
END
$$;

-- The name of this outbox's replication slot: names of slots are the whole cluster's.
CREATE FUNCTION eventferry.tail_slot() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT 'eventferry_' || d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()
$$;

-- Each time the slot was made: so that one that is gone is told from one that never was. `from_lsn`: what was committed
-- before is not in it.
CREATE TABLE eventferry.tail (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot     text NOT NULL,
    from_lsn pg_lsn NOT NULL,
    made_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The slot as it is. Its confirmed place is read first and then, in a later statement, an xid `horizon` is taken: whatever
-- was committed before that place has a smaller xid, and is visible in every snapshot that sees nothing below `horizon`
-- run. (A snapshot's xmax would not do: the newest transaction may have committed and still wait for its standby.)
CREATE FUNCTION eventferry.tail_state(
    OUT made boolean, OUT present boolean, OUT lost boolean, OUT confirmed pg_lsn, OUT active_pid integer, OUT wal_level text,
    OUT horizon xid8
) LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM eventferry.require_read_committed();
    SELECT true, coalesce(s.wal_status = 'lost', false), s.confirmed_flush_lsn, s.active_pid
    INTO present, lost, confirmed, active_pid
    FROM pg_replication_slots AS s WHERE s.slot_name = eventferry.tail_slot();
    present := coalesce(present, false);
    lost := coalesce(lost, false);
    SELECT EXISTS (SELECT FROM eventferry.tail AS t WHERE t.slot = eventferry.tail_slot()) INTO made;
    wal_level := current_setting('wal_level');
    horizon := pg_current_xact_id();
END
$$;

-- A person accepts that what a lost slot held is gone: every lane begins again where a new one does.
CREATE FUNCTION eventferry.forget_tail() RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM eventferry.require_read_committed();
    PERFORM FROM eventferry.lane AS l ORDER BY l.lane FOR NO KEY UPDATE;
    INSERT INTO eventferry.position (lane, version, epoch, read_window, last_id)
    SELECT p.lane, p.version + 1, l.epoch, p.read_window, p.last_id
    FROM eventferry.lane AS l, eventferry.positions(ARRAY[l.lane]) AS p WHERE p.lsn IS NOT NULL;
END
$$;

-- Ends whoever still reads from the slot: its former owner, whose lease is over.
CREATE FUNCTION eventferry.end_tail(pid integer) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT pg_catalog.pg_terminate_backend(s.active_pid) FROM pg_catalog.pg_replication_slots AS s
    WHERE s.slot_name = eventferry.tail_slot() AND s.active_pid = $1
$$;

-- Events that are in no table: each is a message in the write-ahead log, in the caller's transaction.

-- Puts one event into the log. It runs as its owner, so that whoever may call it needs no right to the raw function, and a
-- prefix tells its messages from others'. An event's place in the record is its column's in the outbox.
CREATE FUNCTION eventferry.emit_event(
    message_id uuid, topic text, aggregate_type text, aggregate_id text, key bytea, payload bytea, content_type text,
    headers bytea[], partition integer
) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Without a slot, nobody would ever read it.
    IF NOT EXISTS (SELECT FROM pg_replication_slots AS s
                   WHERE s.slot_name = eventferry.tail_slot() AND s.wal_status IS DISTINCT FROM 'lost') THEN
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

-- Emits one event in the caller's transaction and returns its message id; arguments as those of eventferry.enqueue().
CREATE FUNCTION eventferry.emit(
    topic text, aggregate_type text, aggregate_id text, payload bytea,
    key text DEFAULT NULL, headers json DEFAULT NULL, content_type text DEFAULT 'application/octet-stream'
) RETURNS uuid LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    message_id uuid := pg_catalog.gen_random_uuid();
BEGIN
    IF coalesce(pg_catalog.json_typeof($6), 'object') <> 'object' THEN
        PERFORM eventferry.refuse($1, $2, $3, octet_length($4), $6);
    END IF;
    PERFORM eventferry.emit_event(message_id, $1, $2, $3, pg_catalog.convert_to($5, 'UTF8'), $4, $7,
                                  CASE WHEN $6 IS NOT NULL THEN eventferry.headers_of($6) END, NULL);
    RETURN message_id;
END
$$;

CREATE FUNCTION eventferry.emit(
    topic text, aggregate_type text, aggregate_id text, payload text,
    key text DEFAULT NULL, headers json DEFAULT NULL, content_type text DEFAULT 'text/plain; charset=utf-8'
) RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT eventferry.emit($1, $2, $3, pg_catalog.convert_to($4, 'UTF8'), $5, $6, $7)
$$;

CREATE FUNCTION eventferry.emit(
    topic text, aggregate_type text, aggregate_id text, payload jsonb,
    key text DEFAULT NULL, headers json DEFAULT NULL, content_type text DEFAULT 'application/json'
) RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT eventferry.emit($1, $2, $3, pg_catalog.convert_to($4::text, 'UTF8'), $5, $6, $7)
$$;

-- Whoever may enqueue may emit, and nobody else.
REVOKE EXECUTE ON FUNCTION eventferry.emit_event(uuid, text, text, text, bytea, bytea, text, bytea[], integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION eventferry.grant_application(role regrole) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA eventferry TO %s', role);
    EXECUTE format('GRANT USAGE ON SEQUENCE eventferry.outbox_id TO %s', role);
    EXECUTE format('GRANT INSERT (message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, '
                   'headers, partition) ON eventferry.outbox TO %s', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION eventferry.emit_event(uuid, text, text, text, bytea, bytea, text, bytea[], '
                   'integer) TO %s', role);
END
$$;

-- Takes from everybody but this function's owner the right to write messages under whatever prefix: else whoever can
-- connect could forge events. As a superuser, in each database. True: nobody else has it now.
CREATE FUNCTION eventferry.close_raw_messages() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    raw regprocedure;
    owner regrole := (SELECT p.proowner FROM pg_catalog.pg_proc AS p
                      WHERE p.pronamespace = 'eventferry'::regnamespace AND p.proname = 'emit_event');
BEGIN
    FOR raw IN SELECT p.oid FROM pg_catalog.pg_proc AS p
               WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = 'pg_logical_emit_message' LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', raw, owner);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', raw);
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION eventferry.close_raw_messages() FROM PUBLIC;

-- What a relay's role needs: as before, and to note that it made the slot. REPLICATION is for a superuser to give.
CREATE OR REPLACE FUNCTION eventferry.grant_relay(role regrole) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    slot integer;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA eventferry TO %s', role);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA eventferry TO %s', role);
    EXECUTE format('GRANT SELECT ON SEQUENCE eventferry.outbox_id TO %s', role);
    EXECUTE format('GRANT INSERT, UPDATE, DELETE ON eventferry.lane, eventferry.relay, eventferry.beat, '
                   'eventferry.read_window, eventferry.position, eventferry.anchor, eventferry.history, '
                   'eventferry.parked TO %s', role);
    EXECUTE format('GRANT INSERT ON eventferry.audit, eventferry.tail TO %s', role);
    FOR slot IN 0 .. eventferry.slots() - 1 LOOP
        EXECUTE format('GRANT TRUNCATE ON eventferry.outbox_%s TO %s', slot, role);
    END LOOP;
END
$$;

-- Roles that had the one or the other before have what is new, too.
DO $$
DECLARE
    role oid;
BEGIN
    FOR role IN
        SELECT DISTINCT a.grantee FROM pg_catalog.pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        WHERE c.oid = 'eventferry.parked'::regclass AND a.privilege_type = 'INSERT' AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT ON eventferry.tail TO %s', role::regrole);
    END LOOP;
    FOR role IN
        SELECT DISTINCT a.grantee FROM pg_catalog.pg_attribute AS c CROSS JOIN LATERAL aclexplode(c.attacl) AS a
        WHERE c.attrelid = 'eventferry.outbox'::regclass AND a.privilege_type = 'INSERT' AND a.grantee <> 0
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION eventferry.emit_event(uuid, text, text, text, bytea, bytea, text, '
                       'bytea[], integer) TO %s', role::regrole);
    END LOOP;
END
$$;
