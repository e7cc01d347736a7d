-- purpose: the relay's side: owning lanes, reading windows of the log, settling positions, sweeping.
-- Every function is one statement to its caller, so that a client that freezes holds no lock.

-- The promises rest on each statement of these functions seeing what was committed before it: READ COMMITTED.
CREATE FUNCTION eventferry.require_read_committed() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'eventferry needs transactions to be READ COMMITTED, and this one is %',
            upper(current_setting('transaction_isolation'))
        USING ERRCODE = 'EF001', HINT = format('ALTER ROLE %I SET default_transaction_isolation = ''read committed''', current_user);
    END IF;
END
$$;

-- Which cluster and timeline this is: marks of another one mean nothing here.
-- pg_control_checkpoint() would lag behind a promotion for seconds; the name of the WAL file does not.
CREATE FUNCTION eventferry.current_history(OUT system_identifier bigint, OUT timeline integer)
LANGUAGE sql VOLATILE AS $$
    SELECT c.system_identifier,
           ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer
    FROM pg_catalog.pg_control_system() AS c
$$;

CREATE FUNCTION eventferry.relay_lives(relay text) RETURNS boolean LANGUAGE sql VOLATILE
SET enable_seqscan = off AS $$
    SELECT coalesce((SELECT b.until > pg_catalog.clock_timestamp() FROM eventferry.beat AS b
                     WHERE b.relay = $1 ORDER BY b.at DESC LIMIT 1), false)
$$;

-- Beats, frees what this relay does not keep, takes up to take_max lanes. See the contract, Lanes::hold.
-- lease_ms: how long from now, 0 to leave. rival_until: another incarnation under this name lives until then, and
-- nothing was done.
CREATE FUNCTION eventferry.hold(
    relay text, incarnation uuid, lease_ms bigint, keep_lanes integer[], keep_epochs bigint[], take_max integer,
    OUT lanes integer[], OUT epochs bigint[], OUT relays_live bigint, OUT lanes_total bigint, OUT rival_until timestamptz
) LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me text := relay;
    my_incarnation uuid := incarnation;
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
    INSERT INTO eventferry.beat (relay, until, incarnation)
    VALUES (me, clock_timestamp() + lease_ms * interval '1 millisecond', my_incarnation);

    SELECT take_max > 0 OR EXISTS (
        SELECT FROM eventferry.lane AS l LEFT JOIN unnest(keep_lanes, keep_epochs) AS k (lane, epoch) USING (lane)
        WHERE l.owner = me AND l.epoch IS DISTINCT FROM k.epoch) INTO due;
    IF due THEN
        -- One relay at a time changes owners, and what it looks at is looked at after the lock is held: a statement
        -- that waits for a row lock sees that row new and everything else old.
        PERFORM pg_advisory_xact_lock(hashtextextended('eventferry.lane', 0));
        UPDATE eventferry.lane AS l SET owner = NULL
        WHERE l.owner = me AND NOT EXISTS (
            SELECT FROM unnest(keep_lanes, keep_epochs) AS k (lane, epoch) WHERE k.lane = l.lane AND k.epoch = l.epoch);
        UPDATE eventferry.lane AS l SET owner = me, epoch = l.epoch + 1
        FROM (SELECT c.lane FROM eventferry.lane AS c
              WHERE c.owner IS NULL OR (c.owner <> me AND NOT eventferry.relay_lives(c.owner))
              ORDER BY c.lane LIMIT greatest(take_max, 0) FOR UPDATE SKIP LOCKED) AS free
        WHERE l.lane = free.lane;
    ELSE
        -- Whoever takes over is done, or will see this heartbeat: else a late one and its successor would both be told
        -- that a lane is theirs.
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('eventferry.lane', 0));
    END IF;

    SELECT coalesce(array_agg(l.lane ORDER BY l.lane), '{}'), coalesce(array_agg(l.epoch ORDER BY l.lane), '{}')
    INTO lanes, epochs FROM eventferry.lane AS l WHERE l.owner = me;
    SELECT count(*) FILTER (WHERE eventferry.relay_lives(r.id)) INTO relays_live FROM eventferry.relay AS r;
    SELECT count(*) INTO lanes_total FROM eventferry.lane;
END
$$;

-- The last id that was given; 0 before the first. The function waits for a nextval() that is under way. Reading
-- last_value from the sequence does not: while nextval() writes ahead to the log, it shows an id up to 32 too great, and
-- a floor made of that loses events.
CREATE FUNCTION eventferry.newest_id() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(pg_catalog.pg_sequence_last_value('eventferry.outbox_id'), 0)
$$;

-- Opens a window from each of `prevs` to one common `cur`. Call it in a transaction of its own.
CREATE FUNCTION eventferry.open_windows(
    prevs pg_snapshot[],
    OUT cur pg_snapshot, OUT floors bigint[], OUT late_floors bigint[], OUT late_throughs bigint[], OUT lsn pg_lsn,
    OUT system_identifier bigint, OUT timeline integer
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    newest bigint;
    anchored bigint;
    mine xid8;
BEGIN
    PERFORM eventferry.require_read_committed();
    -- First the sequence, then, in a later statement, an xid of our own: every event whose xid is greater was given
    -- its id later than `newest`. The other way round, or in one statement, events are lost.
    newest := eventferry.newest_id();
    SELECT a.floor INTO anchored FROM eventferry.anchor AS a ORDER BY a.xid DESC LIMIT 1;
    IF newest - coalesce(anchored, 0) >= 1000 THEN
        mine := pg_current_xact_id();
        INSERT INTO eventferry.anchor (xid, floor) VALUES (mine, newest);
    END IF;

    SELECT pg_current_snapshot() INTO cur;
    -- After the snapshot: what it shows is durable once this much of the log is flushed.
    SELECT pg_current_wal_insert_lsn() INTO lsn;
    SELECT h.system_identifier, h.timeline INTO system_identifier, timeline FROM eventferry.current_history() AS h;

    SELECT array_agg(coalesce((SELECT a.floor FROM eventferry.anchor AS a WHERE a.xid < pg_snapshot_xmax(p.prev)
                               ORDER BY a.xid DESC LIMIT 1), 0) ORDER BY p.place),
           array_agg(coalesce((SELECT a.floor FROM eventferry.anchor AS a WHERE a.xid < pg_snapshot_xmin(p.prev)
                               ORDER BY a.xid DESC LIMIT 1), 0) ORDER BY p.place)
    INTO floors, late_floors FROM unnest(prevs) WITH ORDINALITY AS p (prev, place);

    -- Up to which id there are late rows. A snapshot is newer than `cur` here, so there may seem to be more; never fewer.
    SELECT array_agg(coalesce(late.through, 0) ORDER BY p.place) INTO late_throughs
    FROM unnest(prevs) WITH ORDINALITY AS p (prev, place)
    CROSS JOIN LATERAL (
        SELECT max(newest.id) AS through FROM pg_snapshot_xip(p.prev) AS running (xid)
        CROSS JOIN LATERAL (SELECT o.id FROM eventferry.outbox AS o WHERE o.xid = running.xid
                            ORDER BY o.xid DESC, o.id DESC LIMIT 1) AS newest
    ) AS late;
END
$$;

-- Reads a page of a window: events visible in cur and not in prev, with ids over `after`, in the order of ids.
-- mask: a byte a lane, 1 to read it; lanes: how many there are. At most rows_max rows; ids further than scan_max from
-- the beginning are left for the next page. If it is not rows_max that ended the page and there may be more, a last
-- row without a topic says up to which id this page looked. Bytes are the client's to bound: a page is sent row by row.
-- index: outbox_pkey (id) for new rows, outbox_xid_id (xid, id) for those of transactions that prev saw running.
CREATE FUNCTION eventferry.read_page(
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
    IF pg_snapshot_xmin(prev) = old_max THEN
        -- Nothing was running when the window before was taken, so nothing is late: no merging, no sorting.
        RETURN QUERY
        SELECT o.id, o.lane_hash % lanes, o.created_at, o.message_id, o.topic, o.aggregate_type, o.aggregate_id,
               o.key, o.payload, o.content_type, o.headers, o.partition
        FROM eventferry.outbox AS o
        WHERE o.id > start AND o.id <= upto AND o.xid >= old_max
          AND (o.id <= restored_through OR pg_visible_in_snapshot(o.xid, cur))
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
            WHERE o.id > start AND o.id <= upto AND o.xid >= old_max
              AND (o.id <= restored_through OR pg_visible_in_snapshot(o.xid, cur))
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

-- Where these lanes stand: the newest position of each, with its window.
CREATE FUNCTION eventferry.positions(of_lanes integer[])
RETURNS TABLE (
    lane integer, version bigint, last_id bigint, read_window uuid, prev pg_snapshot, cur pg_snapshot,
    floor bigint, late_floor bigint, restored_through bigint
) LANGUAGE sql VOLATILE
SET enable_seqscan = off AS $$
    SELECT l.lane, p.version, p.last_id, w.id, w.prev, w.cur, w.floor, w.late_floor, w.restored_through
    FROM unnest($1) AS l (lane)
    CROSS JOIN LATERAL (
        SELECT * FROM eventferry.position AS p WHERE p.lane = l.lane ORDER BY p.version DESC LIMIT 1) AS p
    JOIN eventferry.read_window AS w ON w.id = p.read_window
    ORDER BY l.lane
$$;

-- Moves positions and parks events, under the lanes' epochs. See the contract, Ledger::settle.
-- Arrays run side by side: one element a lane, a window that may be new, a parked event.
CREATE FUNCTION eventferry.settle(
    relay text, system_identifier bigint, timeline integer,
    lanes integer[], epochs bigint[], versions bigint[], windows uuid[], last_ids bigint[],
    new_windows uuid[], prevs pg_snapshot[], curs pg_snapshot[], floors bigint[], late_floors bigint[], restored bigint[],
    park_lanes integer[], park_ids bigint[], park_refused text[]
) RETURNS TABLE (lane integer, verdict text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    moved integer[];
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
        SELECT t.lane, t.epoch, t.version, t.read_window, t.last_id
        FROM unnest(lanes, epochs, versions, windows, last_ids) AS t (lane, epoch, version, read_window, last_id)
        JOIN eventferry.lane AS l ON l.lane = t.lane AND l.owner = relay AND l.epoch = t.epoch
        WHERE t.version = (SELECT p.version FROM eventferry.position AS p WHERE p.lane = t.lane
                           ORDER BY p.version DESC LIMIT 1)
    ), inserted AS (
        INSERT INTO eventferry.position AS p (lane, version, epoch, read_window, last_id)
        SELECT t.lane, t.version + 1, t.epoch, t.read_window, t.last_id FROM told AS t
        RETURNING p.lane
    )
    SELECT coalesce(array_agg(i.lane), '{}') INTO moved FROM inserted AS i;

    IF cardinality(park_ids) > 0 THEN
        INSERT INTO eventferry.parked (lane, id, refused, created_at, message_id, topic, aggregate_type, aggregate_id,
                                       key, payload, content_type, headers, partition)
        SELECT k.lane, o.id, k.refused, o.created_at, o.message_id, o.topic, o.aggregate_type, o.aggregate_id,
               o.key, o.payload, o.content_type, o.headers, o.partition
        FROM unnest(park_lanes, park_ids, park_refused) WITH ORDINALITY AS k (lane, id, refused, place)
        JOIN eventferry.outbox AS o ON o.id = k.id
        WHERE k.lane = ANY (moved)
        ORDER BY k.place
        ON CONFLICT DO NOTHING;
    END IF;

    RETURN QUERY
    SELECT t.lane, CASE
        WHEN t.lane = ANY (moved) THEN 'done'
        WHEN p.version = t.version + 1 AND p.epoch = t.epoch AND p.read_window = t.read_window
             AND p.last_id = t.last_id THEN 'done'
        WHEN l.owner IS DISTINCT FROM relay OR l.epoch <> t.epoch THEN 'fenced'
        ELSE 'stale' END
    FROM unnest(lanes, epochs, versions, windows, last_ids) WITH ORDINALITY
         AS t (lane, epoch, version, read_window, last_id, place)
    LEFT JOIN eventferry.lane AS l ON l.lane = t.lane
    LEFT JOIN LATERAL (SELECT * FROM eventferry.position AS p WHERE p.lane = t.lane
                       ORDER BY p.version DESC LIMIT 1) AS p ON true
    ORDER BY t.place;
    -- The log is read as far as it is durable; so are the books on it.
    PERFORM set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
END
$$;

-- Puts the write-ahead log on disk up to here: a commit waits for its own record, whatever others' settings are.
CREATE FUNCTION eventferry.flush() RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    newest bigint;
    mine xid8;
BEGIN
    -- The record is an anchor, in the order that open_windows() explains.
    newest := eventferry.newest_id();
    mine := pg_current_xact_id();
    INSERT INTO eventferry.anchor (xid, floor) VALUES (mine, newest) ON CONFLICT DO NOTHING;
    PERFORM set_config('synchronous_commit', 'local', true);
END
$$;

-- Compares the cluster and timeline with those that the log was last read on: 'same', 'first', 'failed_over' or
-- 'restored'. After a restore the xids in the log are another cluster's: every lane starts again below everything
-- that was not settled, and rows up to the newest id are read whatever their xids say.
CREATE FUNCTION eventferry.check_history(OUT verdict text, OUT system_identifier bigint, OUT timeline integer)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known eventferry.history;
    newest bigint;
    mine xid8;
    start bigint;
    restored uuid := gen_random_uuid();
BEGIN
    PERFORM eventferry.require_read_committed();
    SELECT h.system_identifier, h.timeline INTO system_identifier, timeline FROM eventferry.current_history() AS h;
    SELECT * INTO known FROM eventferry.history AS h ORDER BY h.id DESC LIMIT 1;
    IF known.system_identifier = system_identifier AND known.timeline = timeline THEN
        verdict := 'same';
        RETURN;
    END IF;
    newest := eventferry.newest_id();
    mine := pg_current_xact_id();
    PERFORM set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
    PERFORM pg_advisory_xact_lock(hashtextextended('eventferry.history', 0));
    SELECT * INTO known FROM eventferry.history AS h ORDER BY h.id DESC LIMIT 1;
    verdict := CASE
        WHEN known.id IS NULL THEN 'first'
        WHEN known.system_identifier <> check_history.system_identifier THEN 'restored'
        WHEN known.timeline <> check_history.timeline THEN 'failed_over'
        ELSE 'same' END;
    IF verdict = 'same' THEN
        RETURN;
    END IF;
    INSERT INTO eventferry.history (system_identifier, timeline) VALUES (check_history.system_identifier, check_history.timeline);
    IF verdict <> 'restored' THEN
        RETURN;
    END IF;
    PERFORM FROM eventferry.lane AS l ORDER BY l.lane FOR NO KEY UPDATE;
    SELECT coalesce(min(CASE WHEN p.last_id < 9223372036854775807 THEN p.late_floor ELSE coalesce(
               (SELECT a.floor FROM eventferry.anchor AS a WHERE a.xid < pg_snapshot_xmin(p.cur)
                ORDER BY a.xid DESC LIMIT 1), 0) END), 0)
    INTO start
    FROM eventferry.positions((SELECT array_agg(l.lane) FROM eventferry.lane AS l)) AS p;
    DELETE FROM eventferry.anchor;
    INSERT INTO eventferry.anchor (xid, floor) VALUES (mine, newest);
    INSERT INTO eventferry.read_window (id, prev, cur, floor, late_floor, restored_through)
    VALUES (restored, '1:1:', '1:1:', start, start, newest);
    INSERT INTO eventferry.position (lane, version, epoch, read_window, last_id)
    SELECT p.lane, p.version + 1, l.epoch, restored, 9223372036854775807
    FROM eventferry.lane AS l, eventferry.positions(ARRAY[l.lane]) AS p;
END
$$;
