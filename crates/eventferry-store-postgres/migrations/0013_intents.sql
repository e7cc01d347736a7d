-- purpose: exactly-once delivery: what is settled when a transaction of the broker's is committed is written down before.

-- What the broker calls this outbox. A copy of the database has the same name, so that what is restored from it takes over.
-- asked_sum, asked_attempt: when what was shipped was asked for last: the sum of the lanes' epochs, and the attempt.
CREATE TABLE eventferry.identity (
    is_here       boolean PRIMARY KEY DEFAULT true CHECK (is_here),
    outbox        uuid NOT NULL DEFAULT gen_random_uuid(),
    asked_sum     numeric NOT NULL DEFAULT 0,
    asked_attempt bigint NOT NULL DEFAULT 0
);
INSERT INTO eventferry.identity DEFAULT VALUES;

-- The last transaction all of whose intent for this lane is settled with this position, or was before.
ALTER TABLE eventferry.position ADD COLUMN carries bigint NOT NULL DEFAULT 0;

-- One for each transaction of the broker's: the arguments of the settlement that it stands for. Intents form a chain:
-- `after` is the number of the one committed before. Added, not updated; those below `settled` of the newest are removed
-- in bulk.
CREATE TABLE eventferry.intent (
    number            bigint PRIMARY KEY,
    nonce             bigint NOT NULL,
    after             bigint NOT NULL,
    settled           bigint NOT NULL,
    -- In which cluster it was written: its windows mean nothing in another.
    system_identifier bigint NOT NULL,
    -- It is carried out: what is left of it is its number.
    carried_out       boolean NOT NULL DEFAULT false,
    lanes integer[] NOT NULL DEFAULT '{}',
    windows uuid[] NOT NULL DEFAULT '{}',
    last_ids bigint[] NOT NULL DEFAULT '{}',
    new_windows uuid[] NOT NULL DEFAULT '{}',
    prevs pg_snapshot[] NOT NULL DEFAULT '{}',
    curs pg_snapshot[] NOT NULL DEFAULT '{}',
    floors bigint[] NOT NULL DEFAULT '{}',
    late_floors bigint[] NOT NULL DEFAULT '{}',
    restored bigint[] NOT NULL DEFAULT '{}',
    tellings bigint[] NOT NULL DEFAULT '{}',
    park_lanes integer[] NOT NULL DEFAULT '{}',
    park_ids bigint[] NOT NULL DEFAULT '{}',
    park_as text[] NOT NULL DEFAULT '{}',
    park_pauses bigint[] NOT NULL DEFAULT '{}',
    park_classes text[] NOT NULL DEFAULT '{}',
    park_messages text[] NOT NULL DEFAULT '{}',
    change_lanes integer[] NOT NULL DEFAULT '{}',
    change_ordinals bigint[] NOT NULL DEFAULT '{}',
    change_rounds integer[] NOT NULL DEFAULT '{}',
    changes text[] NOT NULL DEFAULT '{}',
    change_pauses bigint[] NOT NULL DEFAULT '{}',
    change_attempts integer[] NOT NULL DEFAULT '{}',
    change_classes text[] NOT NULL DEFAULT '{}',
    change_messages text[] NOT NULL DEFAULT '{}',
    lsns pg_lsn[] NOT NULL DEFAULT '{}',
    ordinals bigint[] NOT NULL DEFAULT '{}',
    newest_ids bigint[] NOT NULL DEFAULT '{}',
    park_created bigint[] NOT NULL DEFAULT '{}',
    park_message_ids uuid[] NOT NULL DEFAULT '{}',
    park_topics text[] NOT NULL DEFAULT '{}',
    park_types text[] NOT NULL DEFAULT '{}',
    park_aggregates text[] NOT NULL DEFAULT '{}',
    park_keys bytea[] NOT NULL DEFAULT '{}',
    park_payloads bytea[] NOT NULL DEFAULT '{}',
    park_content_types text[] NOT NULL DEFAULT '{}',
    park_headers text[] NOT NULL DEFAULT '{}',
    park_partitions integer[] NOT NULL DEFAULT '{}'
);

DROP FUNCTION eventferry.settle(text, bigint, integer, integer[], bigint[], bigint[], uuid[], bigint[], uuid[], pg_snapshot[],
                                pg_snapshot[], bigint[], bigint[], bigint[], bigint[], integer[], bigint[], text[], bigint[],
                                text[], text[], integer[], bigint[], integer[], text[], bigint[], integer[], text[], text[],
                                pg_lsn[], bigint[], bigint[], bigint[], uuid[], text[], text[], text[], bytea[], bytea[],
                                text[], text[], integer[]);
-- As before, and: the last transaction whose intent is settled with each lane. Null: without transactions.
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
    park_partitions integer[] DEFAULT '{}', carries bigint[] DEFAULT NULL
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
               t.lsn, t.ordinal, t.newest_id, coalesce(t.carries, 0) AS carries
        FROM unnest(lanes, epochs, versions, windows, last_ids, tellings, lsns, ordinals, newest_ids, carries)
             AS t (lane, epoch, version, read_window, last_id, telling, lsn, ordinal, newest_id, carries)
        JOIN eventferry.lane AS l ON l.lane = t.lane AND l.owner = relay AND l.epoch = t.epoch
        WHERE t.version = (SELECT p.version FROM eventferry.position AS p WHERE p.lane = t.lane
                           ORDER BY p.version DESC LIMIT 1)
    ), inserted AS (
        INSERT INTO eventferry.position AS p (lane, version, epoch, read_window, last_id, told, lsn, ordinal, newest_id,
                                              carries)
        SELECT t.lane, t.version + 1, t.epoch, t.read_window, t.last_id, t.telling, t.lsn, t.ordinal, t.newest_id, t.carries
        FROM told AS t
        RETURNING p.lane
    )
    SELECT coalesce(array_agg(i.lane), '{}') INTO moved FROM inserted AS i;

    -- Who carries without transactions leaves intents behind that speak of a place from which lanes have moved on. One
    -- that is fenced has moved nothing, and leaves those of the lanes' owner alone.
    IF carries IS NULL AND cardinality(moved) > 0 AND EXISTS (SELECT FROM eventferry.intent) THEN
        DELETE FROM eventferry.intent;
    END IF;

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

-- Writes down what transaction `number` settles, if every lane of `held_lanes` is held.
CREATE FUNCTION eventferry.intend(
    relay text, system_identifier bigint, timeline integer, number bigint, nonce bigint, after bigint, settled bigint,
    held_lanes integer[], held_epochs bigint[],
    lanes integer[] DEFAULT '{}', windows uuid[] DEFAULT '{}', last_ids bigint[] DEFAULT '{}',
    new_windows uuid[] DEFAULT '{}', prevs pg_snapshot[] DEFAULT '{}', curs pg_snapshot[] DEFAULT '{}',
    floors bigint[] DEFAULT '{}', late_floors bigint[] DEFAULT '{}', restored bigint[] DEFAULT '{}',
    tellings bigint[] DEFAULT '{}', park_lanes integer[] DEFAULT '{}', park_ids bigint[] DEFAULT '{}',
    park_as text[] DEFAULT '{}', park_pauses bigint[] DEFAULT '{}', park_classes text[] DEFAULT '{}',
    park_messages text[] DEFAULT '{}', change_lanes integer[] DEFAULT '{}', change_ordinals bigint[] DEFAULT '{}',
    change_rounds integer[] DEFAULT '{}', changes text[] DEFAULT '{}', change_pauses bigint[] DEFAULT '{}',
    change_attempts integer[] DEFAULT '{}', change_classes text[] DEFAULT '{}', change_messages text[] DEFAULT '{}',
    lsns pg_lsn[] DEFAULT '{}', ordinals bigint[] DEFAULT '{}', newest_ids bigint[] DEFAULT '{}',
    park_created bigint[] DEFAULT '{}', park_message_ids uuid[] DEFAULT '{}', park_topics text[] DEFAULT '{}',
    park_types text[] DEFAULT '{}', park_aggregates text[] DEFAULT '{}', park_keys bytea[] DEFAULT '{}',
    park_payloads bytea[] DEFAULT '{}', park_content_types text[] DEFAULT '{}', park_headers text[] DEFAULT '{}',
    park_partitions integer[] DEFAULT '{}'
) RETURNS text LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held integer;
    newest record;
BEGIN
    PERFORM eventferry.require_read_committed();
    IF timeline <> 0 THEN
        PERFORM FROM eventferry.current_history() AS h
        WHERE h.system_identifier = intend.system_identifier AND h.timeline = intend.timeline;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the database''s history is not the one this intent speaks of' USING ERRCODE = 'EF002';
        END IF;
    END IF;
    -- Whoever would take one of these lanes waits until this commits, or is seen to have it already.
    PERFORM FROM eventferry.lane AS l WHERE l.lane = ANY (held_lanes) ORDER BY l.lane FOR NO KEY UPDATE;
    SELECT count(*) INTO held FROM unnest(held_lanes, held_epochs) AS h (lane, epoch)
    JOIN eventferry.lane AS l ON l.lane = h.lane AND l.owner = relay AND l.epoch = h.epoch;
    IF held <> cardinality(held_lanes) THEN
        RETURN 'fenced';
    END IF;
    SELECT i.number, i.nonce INTO newest FROM eventferry.intent AS i ORDER BY i.number DESC LIMIT 1;
    IF newest.number >= intend.number THEN
        -- Made again it is there; one that comes after another says nothing any more.
        RETURN CASE WHEN newest.number = intend.number AND newest.nonce <> intend.nonce THEN 'fenced' ELSE 'done' END;
    END IF;
    INSERT INTO eventferry.intent (number, nonce, after, settled, system_identifier,
                                   lanes, windows, last_ids, new_windows, prevs, curs, floors, late_floors, restored,
                                   tellings, park_lanes, park_ids, park_as, park_pauses, park_classes, park_messages,
                                   change_lanes, change_ordinals, change_rounds, changes, change_pauses,
                                   change_attempts, change_classes, change_messages, lsns, ordinals, newest_ids,
                                   park_created, park_message_ids, park_topics, park_types, park_aggregates,
                                   park_keys, park_payloads, park_content_types, park_headers, park_partitions)
    SELECT intend.number, intend.nonce, intend.after, intend.settled, h.system_identifier,
           intend.lanes, intend.windows, intend.last_ids, intend.new_windows, intend.prevs, intend.curs,
           intend.floors, intend.late_floors, intend.restored, intend.tellings, intend.park_lanes, intend.park_ids,
           intend.park_as, intend.park_pauses, intend.park_classes, intend.park_messages, intend.change_lanes,
           intend.change_ordinals, intend.change_rounds, intend.changes, intend.change_pauses, intend.change_attempts,
           intend.change_classes, intend.change_messages, intend.lsns, intend.ordinals, intend.newest_ids,
           intend.park_created, intend.park_message_ids, intend.park_topics, intend.park_types,
           intend.park_aggregates, intend.park_keys, intend.park_payloads, intend.park_content_types,
           intend.park_headers, intend.park_partitions
    FROM eventferry.current_history() AS h;
    -- The transaction is committed by another server when this one has said that it is down.
    PERFORM set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
    RETURN 'done';
END
$$;

-- Carries out the intents of the chain that ends at the transaction committed last, and forgets the others.
CREATE FUNCTION eventferry.resolve(
    relay text, held_lanes integer[], held_epochs bigint[], committed bigint, nonce bigint, attempt bigint,
    OUT agreement text, OUT newest bigint
) LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held integer;
    asked numeric := (SELECT sum(e) FROM unnest(held_epochs) AS e);
    here record;
    i eventferry.intent;
    now_epochs bigint[];
    now_versions bigint[];
    now_windows uuid[];
    now_last_ids bigint[];
    now_lsns pg_lsn[];
    now_ordinals bigint[];
    now_newest_ids bigint[];
BEGIN
    PERFORM eventferry.require_read_committed();
    PERFORM FROM eventferry.lane AS l WHERE l.lane = ANY (held_lanes) ORDER BY l.lane FOR NO KEY UPDATE;
    SELECT count(*) INTO held FROM unnest(held_lanes, held_epochs) AS h (lane, epoch)
    JOIN eventferry.lane AS l ON l.lane = h.lane AND l.owner = relay AND l.epoch = h.epoch;
    -- A lane may carry more than there are intents: numbers given again would be less, and pass for settled.
    SELECT greatest((SELECT max(n.number) FROM eventferry.intent AS n), (SELECT max(p.carries) FROM eventferry.position AS p), 0)
    INTO newest;
    -- A call of a lost connection that comes after a later one would forget what was intended since.
    PERFORM FROM eventferry.identity AS n WHERE (n.asked_sum, n.asked_attempt) > (asked, attempt);
    -- With a part of the lanes it would forget what is intended for the others.
    IF FOUND OR held <> (SELECT count(*) FROM eventferry.lane) THEN
        agreement := 'fenced';
        RETURN;
    END IF;
    UPDATE eventferry.identity AS n SET asked_sum = asked, asked_attempt = attempt;
    SELECT h.system_identifier, h.timeline INTO here FROM eventferry.current_history() AS h;
    IF committed IS NULL THEN
        agreement := CASE WHEN EXISTS (SELECT FROM eventferry.intent) THEN 'parted' ELSE 'agreed' END;
    ELSE
        agreement := CASE WHEN EXISTS (
            SELECT FROM eventferry.intent AS k WHERE k.number = committed AND k.nonce = resolve.nonce
        ) AND NOT EXISTS (
            SELECT FROM eventferry.intent AS k WHERE k.system_identifier <> here.system_identifier
        ) THEN 'agreed' ELSE 'parted' END;
    END IF;
    IF agreement = 'agreed' THEN
        FOR i IN
            WITH RECURSIVE chain AS (
                SELECT k.number, k.after FROM eventferry.intent AS k WHERE k.number = committed
                UNION ALL
                SELECT k.number, k.after FROM chain AS c JOIN eventferry.intent AS k ON k.number = c.after
            )
            SELECT k.* FROM chain AS c JOIN eventferry.intent AS k ON k.number = c.number
            WHERE NOT k.carried_out AND cardinality(k.lanes) > 0 ORDER BY k.number
        LOOP
            -- A version that no position has leaves a lane alone: what it has settled already includes this. And one that
            -- has no place of its own here stays where it is.
            SELECT array_agg(l.epoch ORDER BY t.place),
                   array_agg(CASE WHEN p.carries < i.number THEN p.version ELSE -1 END ORDER BY t.place),
                   array_agg(CASE WHEN t.last_id < 0 THEN p.read_window ELSE t.read_window END ORDER BY t.place),
                   array_agg(CASE WHEN t.last_id < 0 THEN p.last_id ELSE t.last_id END ORDER BY t.place),
                   array_agg(CASE WHEN t.last_id < 0 THEN p.lsn ELSE i.lsns[t.place] END ORDER BY t.place),
                   array_agg(CASE WHEN t.last_id < 0 THEN p.ordinal ELSE i.ordinals[t.place] END ORDER BY t.place),
                   array_agg(CASE WHEN t.last_id < 0 THEN p.newest_id ELSE i.newest_ids[t.place] END ORDER BY t.place)
            INTO now_epochs, now_versions, now_windows, now_last_ids, now_lsns, now_ordinals, now_newest_ids
            FROM unnest(i.lanes, i.windows, i.last_ids) WITH ORDINALITY AS t (lane, read_window, last_id, place)
            JOIN eventferry.lane AS l ON l.lane = t.lane
            CROSS JOIN LATERAL (SELECT * FROM eventferry.position AS p WHERE p.lane = t.lane
                                ORDER BY p.version DESC LIMIT 1) AS p;
            PERFORM eventferry.settle(
                relay, here.system_identifier, here.timeline, i.lanes, now_epochs, now_versions, now_windows,
                now_last_ids, i.new_windows, i.prevs, i.curs, i.floors, i.late_floors, i.restored, i.tellings,
                i.park_lanes, i.park_ids, i.park_as, i.park_pauses, i.park_classes, i.park_messages, i.change_lanes,
                i.change_ordinals, i.change_rounds, i.changes, i.change_pauses, i.change_attempts, i.change_classes,
                i.change_messages, now_lsns, now_ordinals, now_newest_ids, i.park_created, i.park_message_ids,
                i.park_topics, i.park_types, i.park_aggregates, i.park_keys, i.park_payloads, i.park_content_types,
                i.park_headers, i.park_partitions, array_fill(i.number, ARRAY[cardinality(i.lanes)]));
        END LOOP;
    END IF;
    DELETE FROM eventferry.intent AS k WHERE agreement = 'parted' OR k.number <> committed;
    UPDATE eventferry.intent AS k SET carried_out = true,
           lanes = '{}', windows = '{}', last_ids = '{}', new_windows = '{}', prevs = '{}', curs = '{}',
           floors = '{}', late_floors = '{}', restored = '{}', tellings = '{}', park_lanes = '{}', park_ids = '{}',
           park_as = '{}', park_pauses = '{}', park_classes = '{}', park_messages = '{}', change_lanes = '{}',
           change_ordinals = '{}', change_rounds = '{}', changes = '{}', change_pauses = '{}', change_attempts = '{}',
           change_classes = '{}', change_messages = '{}', lsns = '{}', ordinals = '{}', newest_ids = '{}',
           park_created = '{}', park_message_ids = '{}', park_topics = '{}', park_types = '{}',
           park_aggregates = '{}', park_keys = '{}', park_payloads = '{}', park_content_types = '{}',
           park_headers = '{}', park_partitions = '{}';
    PERFORM set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
END
$$;

-- Removes intents that every lane has settled.
CREATE FUNCTION eventferry.prune_intents() RETURNS void LANGUAGE sql VOLATILE AS $$
    DELETE FROM eventferry.intent AS i
    WHERE i.number < (SELECT n.settled FROM eventferry.intent AS n ORDER BY n.number DESC LIMIT 1)
$$;

-- What a relay's role needs: as before, and intents.
CREATE OR REPLACE FUNCTION eventferry.grant_relay(role regrole) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    slot integer;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA eventferry TO %s', role);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA eventferry TO %s', role);
    EXECUTE format('GRANT SELECT ON SEQUENCE eventferry.outbox_id TO %s', role);
    EXECUTE format('GRANT INSERT, UPDATE, DELETE ON eventferry.lane, eventferry.relay, eventferry.beat, '
                   'eventferry.read_window, eventferry.position, eventferry.anchor, eventferry.history, '
                   'eventferry.parked, eventferry.intent TO %s', role);
    EXECUTE format('GRANT UPDATE ON eventferry.identity TO %s', role);
    EXECUTE format('GRANT INSERT ON eventferry.audit, eventferry.tail TO %s', role);
    FOR slot IN 0 .. eventferry.slots() - 1 LOOP
        EXECUTE format('GRANT TRUNCATE ON eventferry.outbox_%s TO %s', slot, role);
    END LOOP;
END
$$;

-- Relays' roles of before have what is new, too.
DO $$
DECLARE
    role oid;
BEGIN
    FOR role IN
        SELECT DISTINCT a.grantee FROM pg_catalog.pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        WHERE c.oid = 'eventferry.parked'::regclass AND a.privilege_type = 'INSERT' AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON eventferry.intent TO %s', role::regrole);
        EXECUTE format('GRANT SELECT, UPDATE ON eventferry.identity TO %s', role::regrole);
    END LOOP;
END
$$;
