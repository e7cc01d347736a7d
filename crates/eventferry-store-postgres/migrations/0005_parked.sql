-- purpose: parked events come back: where each stands and when it is due, what people decide on it, and who decided.

-- About how many bytes a row takes in memory: 128, its columns, and 4 for the length of each header's name and value.
CREATE FUNCTION eventferry.row_bytes(
    topic text, aggregate_type text, aggregate_id text, key bytea, payload bytea, content_type text, headers bytea[]
) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 128 + octet_length(topic) + octet_length(aggregate_type) + octet_length(aggregate_id)
    + coalesce(octet_length(key), 0) + coalesce(octet_length(payload), 0) + coalesce(octet_length(content_type), 0)
    + coalesce((SELECT sum(coalesce(octet_length(part), 0) + 4) FROM unnest(headers) AS part), 0)::bigint;

-- state: unsettled: 'topic' (it goes to its topic when it is due), 'dead_letter_topic' (it was given up, and goes there
-- when it is due), 'waiting' (for a person to retry or discard it), 'held' (it is in the dead-letter topic, and its
-- aggregate waits for a person to release it). Settled: 'shipped', 'dead_lettered', 'discarded'; such a row stays for
-- the retention, so that a log that is read again does not hand its event over again.
-- due_at: null: with the earlier events of its aggregate, or never by itself. The first unsettled event of an aggregate
-- has a time of its own, so that what is due is found by it.
-- class, message: what refused it last, or holds its topic; null: it only waits behind an earlier one.
-- decision: what a person decided and no relay has carried out.
ALTER TABLE eventferry.parked
    ADD COLUMN state text NOT NULL DEFAULT 'topic' CONSTRAINT state_is_known CHECK (
        state IN ('topic', 'dead_letter_topic', 'waiting', 'held', 'shipped', 'dead_lettered', 'discarded')),
    ADD COLUMN attempts integer NOT NULL DEFAULT 0 CONSTRAINT attempts_are_not_negative CHECK (attempts >= 0),
    ADD COLUMN due_at timestamptz,
    ADD COLUMN class text,
    ADD COLUMN message text CONSTRAINT message_has_at_most_1000_characters CHECK (char_length(message) <= 1000),
    ADD COLUMN failed_at timestamptz,
    ADD COLUMN decision text CONSTRAINT decision_is_known CHECK (decision IN ('retry', 'discard', 'release')),
    ADD COLUMN settled_at timestamptz,
    ADD COLUMN size_bytes bigint NOT NULL GENERATED ALWAYS AS (
        eventferry.row_bytes(topic, aggregate_type, aggregate_id, key, payload, content_type, headers)) STORED,
    ADD CONSTRAINT settled_at_goes_with_state CHECK (
        (settled_at IS NULL) = (state IN ('topic', 'dead_letter_topic', 'waiting', 'held')));
-- What an older version parked for good is tried again.
UPDATE eventferry.parked
SET attempts = 1, due_at = clock_timestamp(), class = 'Unknown', message = left(refused, 1000), failed_at = parked_at
WHERE refused IS NOT NULL;
ALTER TABLE eventferry.parked DROP COLUMN refused;

-- The message id first: feeds ask by it after a restore, people when they mean one event.
DROP INDEX eventferry.parked_once;
CREATE UNIQUE INDEX parked_once ON eventferry.parked (message_id, id, lane);
CREATE INDEX parked_unsettled ON eventferry.parked (lane, ordinal) WHERE settled_at IS NULL;
CREATE INDEX parked_aggregate ON eventferry.parked (lane, aggregate_type, aggregate_id, ordinal) WHERE settled_at IS NULL;
CREATE INDEX parked_due ON eventferry.parked (lane, topic, due_at)
    WHERE settled_at IS NULL AND decision IS NULL AND state = 'topic' AND due_at IS NOT NULL;
CREATE INDEX parked_dying ON eventferry.parked (lane, due_at)
    WHERE settled_at IS NULL AND decision IS NULL AND state = 'dead_letter_topic' AND due_at IS NOT NULL;
CREATE INDEX parked_decided ON eventferry.parked (lane, ordinal) WHERE settled_at IS NULL AND decision IS NOT NULL;
CREATE INDEX parked_settled ON eventferry.parked (settled_at) WHERE settled_at IS NOT NULL;

-- What people did. Rows are only added: by relays' roles, who may not change them; remove old ones as the owner.
CREATE TABLE eventferry.audit (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    who            text NOT NULL CONSTRAINT who_has_1_to_200_characters CHECK (char_length(who) BETWEEN 1 AND 200),
    -- 'retry', 'discard' or 'release' of a parked event, or what else was done.
    what           text NOT NULL,
    why            text NOT NULL CONSTRAINT why_has_at_most_1000_characters CHECK (char_length(why) <= 1000),
    message_id     uuid,
    topic          text,
    aggregate_type text,
    aggregate_id   text
);

-- The first unsettled event of each of these aggregates no longer waits behind another: it is due by itself.
CREATE FUNCTION eventferry.first_is_due(of_lanes integer[], of_types text[], of_ids text[], moment timestamptz)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE eventferry.parked AS p SET due_at = moment
    FROM (SELECT DISTINCT * FROM unnest(of_lanes, of_types, of_ids)) AS a (lane, aggregate_type, aggregate_id)
    CROSS JOIN LATERAL (
        SELECT n.ordinal FROM eventferry.parked AS n
        WHERE n.lane = a.lane AND n.aggregate_type = a.aggregate_type AND n.aggregate_id = a.aggregate_id
          AND n.settled_at IS NULL
        ORDER BY n.ordinal LIMIT 1
    ) AS first
    WHERE p.lane = a.lane AND p.ordinal = first.ordinal AND p.state = 'topic' AND p.due_at IS NULL;
END
$$;
SELECT eventferry.first_is_due(array_agg(p.lane), array_agg(p.aggregate_type), array_agg(p.aggregate_id), clock_timestamp())
FROM (SELECT DISTINCT lane, aggregate_type, aggregate_id FROM eventferry.parked) AS p;

-- Where a parked event stands after a change. One that was given up never goes back to its own topic, whatever comes.
CREATE FUNCTION eventferry.state_after(state text, change text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN $2 IN ('shipped', 'dead_lettered', 'discarded', 'held') THEN $2
        WHEN $1 IN ('dead_letter_topic', 'held') THEN $1
        WHEN $2 IN ('refused_retry', 'retried') THEN 'topic'
        WHEN $2 = 'refused_wait' THEN 'waiting'
        WHEN $2 = 'refused_die' THEN 'dead_letter_topic'
        ELSE $1 END
$$;

-- When it is due after a change.
CREATE FUNCTION eventferry.due_after(
    state text, due_at timestamptz, change text, pause_micros bigint, moment timestamptz
) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN eventferry.state_after(state, change) NOT IN ('topic', 'dead_letter_topic') THEN NULL
    WHEN change IN ('refused_retry', 'postponed') THEN moment + pause_micros * interval '1 microsecond'
    WHEN change IN ('refused_die', 'retried') THEN moment
    ELSE due_at END;

DROP FUNCTION eventferry.settle(text, bigint, integer, integer[], bigint[], bigint[], uuid[], bigint[], uuid[], pg_snapshot[],
                                pg_snapshot[], bigint[], bigint[], bigint[], integer[], bigint[], text[]);
-- What was parked and changed with a position, as one number, 0 if nothing was: so that what comes late under the same
-- version and place is not taken for what was told.
ALTER TABLE eventferry.position ADD COLUMN told bigint NOT NULL DEFAULT 0;

-- Moves positions, changes parked events and parks events, under the lanes' epochs. See the contract, Ledger::settle.
-- Arrays run side by side: one element a lane, a window that may be new, a parked event, a change. Every lane named gets
-- a new version of its position, also where it stays at its place: so what was told for the version before comes late.
-- park_as: 'refused_retry', 'refused_wait', 'refused_die', 'topic_held', 'behind'. changes: those that are refused,
-- 'postponed', 'retried', 'held', 'decision_refused', and the ends. Changes of one event have rounds, counted from 1.
CREATE FUNCTION eventferry.settle(
    relay text, system_identifier bigint, timeline integer,
    lanes integer[], epochs bigint[], versions bigint[], windows uuid[], last_ids bigint[],
    new_windows uuid[], prevs pg_snapshot[], curs pg_snapshot[], floors bigint[], late_floors bigint[], restored bigint[],
    tellings bigint[] DEFAULT '{}',
    park_lanes integer[] DEFAULT '{}', park_ids bigint[] DEFAULT '{}', park_as text[] DEFAULT '{}',
    park_pauses bigint[] DEFAULT '{}', park_classes text[] DEFAULT '{}', park_messages text[] DEFAULT '{}',
    change_lanes integer[] DEFAULT '{}', change_ordinals bigint[] DEFAULT '{}', change_rounds integer[] DEFAULT '{}',
    changes text[] DEFAULT '{}', change_pauses bigint[] DEFAULT '{}', change_attempts integer[] DEFAULT '{}',
    change_classes text[] DEFAULT '{}', change_messages text[] DEFAULT '{}'
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
        SELECT t.lane, t.epoch, t.version, t.read_window, t.last_id, coalesce(t.telling, 0) AS telling
        FROM unnest(lanes, epochs, versions, windows, last_ids, tellings)
             AS t (lane, epoch, version, read_window, last_id, telling)
        JOIN eventferry.lane AS l ON l.lane = t.lane AND l.owner = relay AND l.epoch = t.epoch
        WHERE t.version = (SELECT p.version FROM eventferry.position AS p WHERE p.lane = t.lane
                           ORDER BY p.version DESC LIMIT 1)
    ), inserted AS (
        INSERT INTO eventferry.position AS p (lane, version, epoch, read_window, last_id, told)
        SELECT t.lane, t.version + 1, t.epoch, t.read_window, t.last_id, t.telling FROM told AS t
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
            SELECT k.lane, o.id, o.created_at, o.message_id, o.topic, o.aggregate_type, o.aggregate_id, o.key,
                   o.payload, o.content_type, o.headers, o.partition, moment, eventferry.state_after('topic', k.park_as),
                   CASE k.park_as WHEN 'topic_held' THEN moment WHEN 'behind' THEN NULL
                        ELSE eventferry.due_after('topic', NULL, k.park_as, k.pause, moment) END,
                   CASE WHEN k.park_as LIKE 'refused%' THEN 1 ELSE 0 END, k.class, left(k.message, 1000),
                   CASE WHEN k.class IS NOT NULL THEN moment END
            FROM unnest(park_lanes, park_ids, park_as, park_pauses, park_classes, park_messages) WITH ORDINALITY
                 AS k (lane, id, park_as, pause, class, message, place)
            JOIN eventferry.outbox AS o ON o.id = k.id
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
             AND p.last_id = t.last_id AND p.told = coalesce(t.telling, 0) THEN 'done'
        WHEN l.owner IS DISTINCT FROM relay OR l.epoch <> t.epoch THEN 'fenced'
        ELSE 'stale' END
    FROM unnest(lanes, epochs, versions, windows, last_ids, tellings) WITH ORDINALITY
         AS t (lane, epoch, version, read_window, last_id, telling, place)
    LEFT JOIN eventferry.lane AS l ON l.lane = t.lane
    LEFT JOIN LATERAL (SELECT * FROM eventferry.position AS p WHERE p.lane = t.lane
                       ORDER BY p.version DESC LIMIT 1) AS p ON true
    ORDER BY t.place;
    -- The log is read as far as it is durable; so are the books on it.
    PERFORM set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
END
$$;

-- Whether a parked event is due itself, whatever comes before it.
CREATE FUNCTION eventferry.is_due(
    state text, decision text, due_at timestamptz, topic text, moment timestamptz, except_topics text[]
) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN decision IS NULL AND CASE state
    WHEN 'topic' THEN coalesce(due_at <= moment, true) AND topic <> ALL (except_topics)
    WHEN 'dead_letter_topic' THEN coalesce(due_at <= moment, true)
    ELSE false END;

-- The unsettled parked events of lanes, in the order of keys, without what makes them large. Lane by lane: asked for with
-- a condition on both columns of the key, older servers look at all that lies before `after`.
-- index: parked_unsettled (lane, ordinal).
CREATE FUNCTION eventferry.list_parked(lanes integer[], after_lane integer, after_ordinal bigint, most bigint)
RETURNS TABLE (
    lane integer, ordinal bigint, aggregate_type text, aggregate_id text, size_bytes bigint,
    topic text, state text, decision text, due_at timestamptz
) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET max_parallel_workers_per_gather = 0
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    of_lane integer;
    wanted bigint := most;
    listed bigint;
BEGIN
    FOR of_lane IN SELECT l.lane FROM unnest(lanes) AS l (lane) WHERE l.lane >= after_lane ORDER BY l.lane LOOP
        RETURN QUERY
        SELECT p.lane, p.ordinal, p.aggregate_type, p.aggregate_id, p.size_bytes, p.topic, p.state, p.decision, p.due_at
        FROM eventferry.parked AS p
        WHERE p.lane = of_lane AND p.settled_at IS NULL
          AND p.ordinal > CASE WHEN of_lane = after_lane THEN after_ordinal ELSE -1 END
        ORDER BY p.ordinal LIMIT wanted;
        GET DIAGNOSTICS listed = ROW_COUNT;
        wanted := wanted - listed;
        EXIT WHEN wanted <= 0;
    END LOOP;
END
$$;

-- Parked events whose time has come, decisions to be carried out, and when to ask again. See the contract, Ledger::due.
-- All of it by one snapshot, so that no event comes without an earlier one of its aggregate: the function is STABLE.
-- Three kinds of rows: with a decision; with neither decision nor lane, the last one, that says whether there is more
-- and in how many microseconds the next one falls due; else an event.
-- index: parked_due (lane, topic, due_at), parked_dying (lane, due_at), parked_aggregate, parked_decided, parked_unsettled.
CREATE FUNCTION eventferry.due(
    system_identifier bigint, timeline integer, lanes integer[], except_topics text[], after_lane integer,
    after_ordinal bigint, records_max bigint, bytes_max bigint
) RETURNS TABLE (
    ordinal bigint, lane integer, created_at timestamptz, message_id uuid, topic text, aggregate_type text,
    aggregate_id text, key bytea, payload bytea, content_type text, headers bytea[], partition integer,
    state text, attempts integer, class text, message text, failed_at timestamptz, decision text,
    more boolean, next_in_micros bigint
) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET max_parallel_workers_per_gather = 0
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    -- Up to so many due events are gathered and put in order for a page; if there are more, the list is walked.
    few constant bigint := 5000;
    moment timestamptz := clock_timestamp();
    topic_lanes integer[];
    topic_names text[];
    crowded boolean;
    found_lanes integer[];
    found_ordinals bigint[];
    fitting bigint;
    from_lane integer := after_lane;
    from_ordinal bigint := after_ordinal;
    chunk_max bigint := records_max * 2 + 1000;
    chunk_lanes integer[];
    chunk_ordinals bigint[];
BEGIN
    PERFORM FROM eventferry.current_history() AS h
    WHERE h.system_identifier = due.system_identifier AND h.timeline = due.timeline;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the database''s history is not the one these lanes were opened on' USING ERRCODE = 'EF002';
    END IF;

    FOR lane, ordinal, aggregate_type, aggregate_id, state, decision IN
        SELECT p.lane, p.ordinal, p.aggregate_type, p.aggregate_id, p.state, p.decision
        FROM eventferry.parked AS p
        WHERE p.lane = ANY (lanes) AND p.settled_at IS NULL AND p.decision IS NOT NULL
        ORDER BY p.lane, p.ordinal LIMIT records_max
    LOOP
        RETURN NEXT;
    END LOOP;

    -- Which topics have parked events with a time, lane by lane: a step through the index each.
    WITH RECURSIVE step AS (
        SELECT l.lane, first.topic FROM unnest(lanes) AS l (lane)
        CROSS JOIN LATERAL (
            SELECT p.topic FROM eventferry.parked AS p
            WHERE p.lane = l.lane AND p.settled_at IS NULL AND p.decision IS NULL AND p.state = 'topic'
              AND p.due_at IS NOT NULL
            ORDER BY p.topic LIMIT 1
        ) AS first
        UNION ALL
        SELECT s.lane, following.topic FROM step AS s
        CROSS JOIN LATERAL (
            SELECT p.topic FROM eventferry.parked AS p
            WHERE p.lane = s.lane AND p.topic > s.topic AND p.settled_at IS NULL AND p.decision IS NULL
              AND p.state = 'topic' AND p.due_at IS NOT NULL
            ORDER BY p.topic LIMIT 1
        ) AS following
    )
    SELECT array_agg(s.lane), array_agg(s.topic) INTO topic_lanes, topic_names
    FROM step AS s WHERE s.topic <> ALL (except_topics);

    SELECT (extract(epoch FROM min(n.due_at) - moment) * 1000000)::bigint INTO next_in_micros
    FROM (
        SELECT first.due_at FROM unnest(topic_lanes, topic_names) AS k (lane, topic)
        CROSS JOIN LATERAL (
            SELECT p.due_at FROM eventferry.parked AS p
            WHERE p.lane = k.lane AND p.topic = k.topic AND p.due_at > moment AND p.settled_at IS NULL
              AND p.decision IS NULL AND p.state = 'topic'
            ORDER BY p.due_at LIMIT 1
        ) AS first
        UNION ALL
        SELECT first.due_at FROM unnest(lanes) AS l (lane)
        CROSS JOIN LATERAL (
            SELECT p.due_at FROM eventferry.parked AS p
            WHERE p.lane = l.lane AND p.due_at > moment AND p.settled_at IS NULL AND p.decision IS NULL
              AND p.state = 'dead_letter_topic'
            ORDER BY p.due_at LIMIT 1
        ) AS first
    ) AS n;

    -- A few: those that are due themselves, and of each of their aggregates what comes up to the first that is not due.
    WITH candidate AS MATERIALIZED (
        SELECT c.lane, c.aggregate_type, c.aggregate_id
        FROM (
            SELECT d.* FROM unnest(topic_lanes, topic_names) AS k (lane, topic)
            CROSS JOIN LATERAL (
                SELECT p.lane, p.aggregate_type, p.aggregate_id FROM eventferry.parked AS p
                WHERE p.lane = k.lane AND p.topic = k.topic AND p.due_at <= moment AND p.settled_at IS NULL
                  AND p.decision IS NULL AND p.state = 'topic'
                ORDER BY p.due_at LIMIT few + 1
            ) AS d
            WHERE k.lane >= after_lane
            UNION ALL
            SELECT d.* FROM unnest(lanes) AS l (lane)
            CROSS JOIN LATERAL (
                SELECT p.lane, p.aggregate_type, p.aggregate_id FROM eventferry.parked AS p
                WHERE p.lane = l.lane AND p.due_at <= moment AND p.settled_at IS NULL AND p.decision IS NULL
                  AND p.state = 'dead_letter_topic'
                ORDER BY p.due_at LIMIT few + 1
            ) AS d
            WHERE l.lane >= after_lane
        ) AS c
        LIMIT few + 1
    ), aggregate AS MATERIALIZED (
        SELECT DISTINCT c.lane, c.aggregate_type, c.aggregate_id,
               CASE WHEN c.lane = after_lane THEN after_ordinal ELSE -1 END AS from_ordinal
        FROM candidate AS c WHERE (SELECT count(*) FROM candidate) <= few
    ), going AS MATERIALIZED (
        -- None of it up to `after`: such a one is in hand, or was not due when it was passed over. And the first is due.
        SELECT a.* FROM aggregate AS a
        WHERE (SELECT p.ordinal FROM eventferry.parked AS p
               WHERE p.lane = a.lane AND p.aggregate_type = a.aggregate_type AND p.aggregate_id = a.aggregate_id
                 AND p.settled_at IS NULL AND p.ordinal <= a.from_ordinal
               ORDER BY p.ordinal LIMIT 1) IS NULL
          AND (SELECT eventferry.is_due(p.state, p.decision, p.due_at, p.topic, moment, except_topics)
               FROM eventferry.parked AS p
               WHERE p.lane = a.lane AND p.aggregate_type = a.aggregate_type AND p.aggregate_id = a.aggregate_id
                 AND p.settled_at IS NULL AND p.ordinal > a.from_ordinal
               ORDER BY p.ordinal LIMIT 1)
    ), run AS MATERIALIZED (
        SELECT a.lane, r.ordinal, r.size_bytes FROM going AS a
        CROSS JOIN LATERAL (
            SELECT q.ordinal, q.size_bytes, bool_and(q.is_due) OVER (ORDER BY q.ordinal ROWS UNBOUNDED PRECEDING) AS comes
            FROM (
                SELECT p.ordinal, p.size_bytes,
                       eventferry.is_due(p.state, p.decision, p.due_at, p.topic, moment, except_topics) AS is_due
                FROM eventferry.parked AS p
                WHERE p.lane = a.lane AND p.aggregate_type = a.aggregate_type AND p.aggregate_id = a.aggregate_id
                  AND p.settled_at IS NULL AND p.ordinal > a.from_ordinal
                ORDER BY p.ordinal LIMIT records_max + 1
            ) AS q
        ) AS r
        WHERE r.comes
        LIMIT few + 1
    ), page AS (
        SELECT r.lane, r.ordinal, row_number() OVER w AS number, sum(r.size_bytes) OVER w AS bytes
        FROM run AS r WINDOW w AS (ORDER BY r.lane, r.ordinal ROWS UNBOUNDED PRECEDING)
    )
    SELECT (SELECT count(*) FROM candidate) > few OR count(*) > few, count(*), array_agg(p.lane) FILTER (WHERE fits.in_page),
           array_agg(p.ordinal) FILTER (WHERE fits.in_page)
    INTO crowded, fitting, found_lanes, found_ordinals
    FROM page AS p
    CROSS JOIN LATERAL (
        SELECT p.number <= records_max AND (p.bytes <= bytes_max OR p.number = 1) AS in_page) AS fits;
    more := fitting > coalesce(cardinality(found_lanes), 0);

    -- Many: the list is walked from `after`, chunk by chunk, until one fits a page.
    WHILE crowded LOOP
        WITH chunk AS MATERIALIZED (
            SELECT p.lane, p.ordinal, p.aggregate_type, p.aggregate_id, p.size_bytes,
                   eventferry.is_due(p.state, p.decision, p.due_at, p.topic, moment, except_topics) AS is_due
            FROM eventferry.list_parked(lanes, from_lane, from_ordinal, chunk_max) AS p
        ), aggregate AS MATERIALIZED (
            SELECT c.lane, c.aggregate_type, c.aggregate_id, max(c.ordinal) AS through
            FROM chunk AS c WHERE c.is_due GROUP BY c.lane, c.aggregate_type, c.aggregate_id
        ), going AS MATERIALIZED (
            SELECT a.*, (SELECT p.ordinal FROM eventferry.parked AS p
                         WHERE p.lane = a.lane AND p.aggregate_type = a.aggregate_type AND p.aggregate_id = a.aggregate_id
                           AND p.settled_at IS NULL AND p.ordinal < a.through
                           AND (NOT eventferry.is_due(p.state, p.decision, p.due_at, p.topic, moment, except_topics)
                                OR (p.lane, p.ordinal) <= (after_lane, after_ordinal))
                         ORDER BY p.ordinal LIMIT 1) AS stop
            FROM aggregate AS a
        ), page AS (
            SELECT c.lane, c.ordinal, row_number() OVER w AS number, sum(c.size_bytes) OVER w AS bytes
            FROM chunk AS c JOIN going AS g USING (lane, aggregate_type, aggregate_id)
            WHERE c.is_due AND c.ordinal < coalesce(g.stop, g.through + 1)
            WINDOW w AS (ORDER BY c.lane, c.ordinal ROWS UNBOUNDED PRECEDING)
        )
        SELECT (SELECT array_agg(c.lane) FROM chunk AS c), (SELECT array_agg(c.ordinal) FROM chunk AS c), count(*),
               array_agg(p.lane) FILTER (WHERE fits.in_page), array_agg(p.ordinal) FILTER (WHERE fits.in_page)
        INTO chunk_lanes, chunk_ordinals, fitting, found_lanes, found_ordinals
        FROM page AS p
        CROSS JOIN LATERAL (
            SELECT p.number <= records_max AND (p.bytes <= bytes_max OR p.number = 1) AS in_page) AS fits;
        more := fitting > coalesce(cardinality(found_lanes), 0) OR coalesce(cardinality(chunk_lanes), 0) = chunk_max;
        crowded := coalesce(cardinality(chunk_lanes), 0) = chunk_max AND fitting < greatest(records_max / 4, 1);
        IF crowded AND chunk_max < 50000 THEN
            chunk_max := chunk_max * 8;
        ELSIF crowded AND fitting = 0 THEN
            from_lane := chunk_lanes[chunk_max];
            from_ordinal := chunk_ordinals[chunk_max];
        ELSE
            crowded := false;
        END IF;
    END LOOP;

    RETURN QUERY
    SELECT p.ordinal, p.lane, p.created_at, p.message_id, p.topic, p.aggregate_type, p.aggregate_id, p.key, p.payload,
           p.content_type, p.headers, p.partition, p.state, p.attempts, p.class, p.message, p.failed_at, NULL::text,
           NULL::boolean, NULL::bigint
    FROM unnest(found_lanes, found_ordinals) AS k (lane, ordinal)
    CROSS JOIN LATERAL (SELECT * FROM eventferry.parked AS p WHERE p.lane = k.lane AND p.ordinal = k.ordinal LIMIT 1) AS p
    ORDER BY p.lane, p.ordinal;
    lane := NULL;
    decision := NULL;
    RETURN NEXT;
END
$$;

-- The unsettled parked events that a person means. Null, or an empty list: any.
-- index: parked_once (message_id) if message ids are given, else parked_unsettled.
CREATE FUNCTION eventferry.parked_like(
    message_ids uuid[], aggregate_type text, aggregate_id text, topic text, reason text, state text, parked_for interval
) RETURNS SETOF eventferry.parked LANGUAGE sql STABLE AS $$
    SELECT p.* FROM eventferry.parked AS p
    WHERE p.settled_at IS NULL
      AND (cardinality($1) = 0 OR p.message_id = ANY ($1))
      AND ($2 IS NULL OR p.aggregate_type = $2)
      AND ($3 IS NULL OR p.aggregate_id = $3)
      AND ($4 IS NULL OR p.topic = $4)
      AND ($5 IS NULL OR lower(p.class) = lower($5) OR strpos(lower(p.message), lower($5)) > 0)
      AND ($6 IS NULL OR p.state = $6)
      AND ($7 IS NULL OR p.parked_at <= clock_timestamp() - $7)
$$;

-- Writes a decision onto every unsettled parked event that is meant, that it fits and that has none, and a line for each
-- into the audit table. See the contract, Desk::decide.
CREATE FUNCTION eventferry.decide(
    decision text, who text, why text, message_ids uuid[], aggregate_type text, aggregate_id text, topic text, reason text,
    state text, parked_for interval, OUT taken bigint, OUT refused bigint
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM eventferry.require_read_committed();
    -- First the rows, in the order in which settlements lock them; then, in a later statement, what stands in them.
    PERFORM FROM eventferry.parked AS p
    JOIN eventferry.parked_like($4, $5, $6, $7, $8, $9, $10) AS m ON m.lane = p.lane AND m.ordinal = p.ordinal
    ORDER BY p.lane, p.ordinal FOR NO KEY UPDATE OF p;
    WITH meant AS MATERIALIZED (
        SELECT m.lane, m.ordinal FROM eventferry.parked_like($4, $5, $6, $7, $8, $9, $10) AS m
    ), decided AS (
        UPDATE eventferry.parked AS p SET decision = $1 FROM meant AS m
        WHERE p.lane = m.lane AND p.ordinal = m.ordinal AND p.settled_at IS NULL AND p.decision IS NULL
          AND CASE $1
              WHEN 'retry' THEN p.state = 'waiting' OR (p.state = 'topic' AND p.class IS NOT NULL)
              WHEN 'discard' THEN p.state <> 'held'
              WHEN 'release' THEN p.state = 'held' END
        RETURNING p.lane, p.ordinal, p.message_id, p.topic, p.aggregate_type, p.aggregate_id
    ), noted AS (
        INSERT INTO eventferry.audit (who, what, why, message_id, topic, aggregate_type, aggregate_id)
        SELECT $2, $1, $3, d.message_id, d.topic, d.aggregate_type, d.aggregate_id
        FROM decided AS d ORDER BY d.lane, d.ordinal
    )
    SELECT (SELECT count(*) FROM decided), (SELECT count(*) FROM meant) - (SELECT count(*) FROM decided) INTO taken, refused;
    PERFORM set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
END
$$;

-- Removes parked events that were settled longer than the retention ago, up to `most`, and says how many. One stays
-- while the log has its event: should the log be read again, it must not be handed over.
-- index: parked_settled; outbox_pkey.
CREATE FUNCTION eventferry.sweep_parked(retention interval, most bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    removed bigint;
    rereading integer[] := '{}';
BEGIN
    PERFORM eventferry.require_read_committed();
    IF NOT EXISTS (SELECT FROM eventferry.parked AS p WHERE p.settled_at < clock_timestamp() - retention)
       OR NOT pg_try_advisory_xact_lock(hashtextextended('eventferry.sweep_parked', 0)) THEN
        RETURN 0;
    END IF;
    -- Lanes that read the log of another cluster again: their places are below what is settled.
    SELECT coalesce(array_agg(p.lane), '{}') INTO rereading
    FROM eventferry.positions((SELECT array_agg(l.lane) FROM eventferry.lane AS l)) AS p WHERE p.restored_through > 0;
    DELETE FROM eventferry.parked AS p
    USING (
        SELECT t.lane, t.ordinal, t.id, t.message_id FROM eventferry.parked AS t
        WHERE t.settled_at < clock_timestamp() - retention
        ORDER BY t.settled_at LIMIT most
    ) AS t
    WHERE p.lane = t.lane AND p.ordinal = t.ordinal AND t.lane <> ALL (rereading)
      AND (SELECT o.id FROM eventferry.outbox AS o WHERE o.id = t.id AND o.message_id = t.message_id LIMIT 1) IS NULL;
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$;

-- As before, and: of a log that is read again after a restore, what is parked, or was, does not come.
CREATE OR REPLACE FUNCTION eventferry.read_page(
    prev pg_snapshot, cur pg_snapshot, floor bigint, late_floor bigint, restored_through bigint, after bigint,
    mask bytea, lanes integer, rows_max integer, scan_max integer
) RETURNS TABLE (
    id bigint, lane integer, created_at timestamptz, message_id uuid, topic text, aggregate_type text,
    aggregate_id text, key bytea, payload bytea, content_type text, headers bytea[], partition integer
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET max_parallel_workers_per_gather = 0
SET jit = off
AS $$
DECLARE
    old_max xid8 := pg_snapshot_xmax(prev);
    start bigint := greatest(after, floor);
    upto bigint := start + scan_max;
    handed bigint;
    beyond bigint;
BEGIN
    IF restored_through > 0 THEN
        -- A window after a restore follows a beginning that saw nothing run, so nothing is late in it.
        -- index: parked_once (message_id, id).
        RETURN QUERY
        SELECT o.id, o.lane_hash % lanes, o.created_at, o.message_id, o.topic, o.aggregate_type, o.aggregate_id,
               o.key, o.payload, o.content_type, o.headers, o.partition
        FROM eventferry.outbox AS o
        WHERE o.id > start AND o.id <= upto AND o.xid >= old_max
          AND (o.id <= restored_through OR pg_visible_in_snapshot(o.xid, cur))
          AND get_byte(mask, o.lane_hash % lanes) = 1
          -- One look a row: joined, the planner might read all that is parked for each page.
          AND (SELECT p.id FROM eventferry.parked AS p WHERE p.message_id = o.message_id AND p.id = o.id LIMIT 1) IS NULL
        ORDER BY o.id LIMIT rows_max;
    ELSIF pg_snapshot_xmin(prev) = old_max THEN
        -- Nothing was running when the window before was taken, so nothing is late: no merging, no sorting.
        RETURN QUERY
        SELECT o.id, o.lane_hash % lanes, o.created_at, o.message_id, o.topic, o.aggregate_type, o.aggregate_id,
               o.key, o.payload, o.content_type, o.headers, o.partition
        FROM eventferry.outbox AS o
        WHERE o.id > start AND o.id <= upto AND o.xid >= old_max AND pg_visible_in_snapshot(o.xid, cur)
          AND get_byte(mask, o.lane_hash % lanes) = 1
        ORDER BY o.id LIMIT rows_max;
    ELSE
        RETURN QUERY
        WITH late AS (
            -- Compared as rows, so that only the index on (xid, id) will do: through the one on id, a page would look
            -- at everything that others wrote meanwhile.
            SELECT o.*
            FROM pg_snapshot_xip(prev) AS running (xid)
            CROSS JOIN LATERAL (
                SELECT * FROM eventferry.outbox AS o
                WHERE (o.xid, o.id) > (running.xid, greatest(after, late_floor))
                  AND (o.xid, o.id) <= (running.xid, upto)
                  AND get_byte(mask, o.lane_hash % lanes) = 1
                ORDER BY o.xid, o.id LIMIT rows_max
            ) AS o
            WHERE pg_visible_in_snapshot(running.xid, cur)
        ), fresh AS (
            SELECT o.* FROM eventferry.outbox AS o
            WHERE o.id > start AND o.id <= upto AND o.xid >= old_max AND pg_visible_in_snapshot(o.xid, cur)
              AND get_byte(mask, o.lane_hash % lanes) = 1
            ORDER BY o.id LIMIT rows_max
        ), page AS (
            SELECT * FROM late UNION ALL SELECT * FROM fresh
        )
        SELECT o.id, o.lane_hash % lanes, o.created_at, o.message_id, o.topic, o.aggregate_type, o.aggregate_id,
               o.key, o.payload, o.content_type, o.headers, o.partition
        FROM page AS o
        ORDER BY o.id LIMIT rows_max;
    END IF;
    GET DIAGNOSTICS handed = ROW_COUNT;
    IF handed >= rows_max THEN
        RETURN;
    END IF;
    -- A gap in the ids, however wide, is one step.
    SELECT o.id INTO beyond FROM eventferry.outbox AS o WHERE o.id > upto ORDER BY o.id LIMIT 1;
    IF FOUND THEN
        id := beyond - 1;
        RETURN NEXT;
    END IF;
END
$$;

-- What a relay's role needs: to read and truncate the log, to keep its own books, and to add to the audit table.
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
    EXECUTE format('GRANT INSERT ON eventferry.audit TO %s', role);
    FOR slot IN 0 .. eventferry.slots() - 1 LOOP
        EXECUTE format('GRANT TRUNCATE ON eventferry.outbox_%s TO %s', slot, role);
    END LOOP;
END
$$;

-- Roles that kept the books before have what is new, too.
DO $$
DECLARE
    role oid;
BEGIN
    FOR role IN
        SELECT DISTINCT a.grantee FROM pg_catalog.pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        WHERE c.oid = 'eventferry.parked'::regclass AND a.privilege_type = 'INSERT' AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT ON eventferry.audit TO %s', role::regrole);
    END LOOP;
END
$$;
