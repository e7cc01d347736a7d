-- purpose: removing what is consumed, and taking stock.

-- How long each slot of the ring is written to. The longest retention is that of all slots but two.
CREATE FUNCTION eventferry.set_slot_seconds(seconds integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF seconds < 1 THEN
        RAISE EXCEPTION 'a slot lasts at least 1 second, not %', seconds;
    END IF;
    EXECUTE format('CREATE OR REPLACE FUNCTION eventferry.slot_seconds() RETURNS integer '
                   'LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN %s', seconds);
END
$$;

-- Where every lane stands, with the number of lanes.
CREATE TYPE eventferry.stand AS (
    lane integer, prev pg_snapshot, cur pg_snapshot, last_id bigint, restored_through bigint, lanes_total integer
);
CREATE FUNCTION eventferry.stands() RETURNS SETOF eventferry.stand LANGUAGE sql VOLATILE AS $$
    SELECT p.lane, p.prev, p.cur, p.last_id, p.restored_through,
           (SELECT pg_catalog.count(*) FROM eventferry.lane)::integer
    FROM eventferry.positions((SELECT pg_catalog.array_agg(l.lane) FROM eventferry.lane AS l)) AS p
$$;

-- Whether an event of a lane is settled: before the lane's window, or in it and at or below its last id. A beginning
-- after a restore has read nothing yet.
CREATE FUNCTION eventferry.is_settled(xid xid8, id bigint, s eventferry.stand) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_visible_in_snapshot(xid, (s).prev)
    OR (id <= (s).last_id AND (id <= (s).restored_through OR pg_visible_in_snapshot(xid, (s).cur))
        AND NOT ((s).restored_through > 0 AND (s).prev::text = (s).cur::text));

-- Where the log must still be read from: nothing that is not settled was written by a transaction below this xid,
-- nor lies at or below this id.
CREATE FUNCTION eventferry.unsettled_from(OUT xid xid8, OUT id bigint) LANGUAGE sql VOLATILE AS $$
    -- Ordered and picked, because min() knows no xid8 before PostgreSQL 16.
    SELECT (array_agg(pg_snapshot_xmin(s.still_running_in) ORDER BY pg_snapshot_xmin(s.still_running_in)))[1],
           min(CASE WHEN p.last_id < 9223372036854775807 THEN p.late_floor ELSE coalesce(
               (SELECT a.floor FROM eventferry.anchor AS a WHERE a.xid < pg_snapshot_xmin(p.cur)
                ORDER BY a.xid DESC LIMIT 1), 0) END)
    FROM eventferry.positions((SELECT pg_catalog.array_agg(l.lane) FROM eventferry.lane AS l)) AS p
    CROSS JOIN LATERAL (SELECT CASE WHEN p.last_id < 9223372036854775807 THEN p.prev ELSE p.cur END) AS s (still_running_in)
$$;

-- Empties one slot of the ring, if everything in it is settled and older than the retention; says how many rows it
-- held by the planner's count, or null if it did nothing. Never waits for a lock for more than a moment.
CREATE FUNCTION eventferry.empty_slot(slot integer, retention interval) RETURNS bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '20ms'
SET enable_seqscan = off
AS $$
DECLARE
    name text := format('eventferry.outbox_%s', slot);
    -- How soon a slot is to be written to that is left alone for it.
    ahead interval := least(eventferry.slot_seconds() / 10.0, 60) * interval '1 second';
    lanes integer := (SELECT count(*) FROM eventferry.lane);
    start bigint;
    seen pg_snapshot;
    held bigint;
    keeps boolean;
BEGIN
    -- A lane without a place has settled nothing, as far as anybody can tell.
    IF (SELECT count(*) FROM eventferry.stands()) < (SELECT count(*) FROM eventferry.lane) THEN
        RETURN NULL;
    END IF;
    -- Positions of another cluster say nothing of what was written in this one: a relay compares them first.
    PERFORM FROM eventferry.current_history() AS now_on
    WHERE (now_on.system_identifier, now_on.timeline) = (
        SELECT h.system_identifier, h.timeline FROM eventferry.history AS h ORDER BY h.id DESC LIMIT 1);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- The slot that is written to now, the one before, for transactions begun then, and those that a retention ago still
    -- were written to, stay.
    IF slot IN (SELECT eventferry.slot_of(t) FROM generate_series(
            now() - greatest(retention, eventferry.slot_seconds() * interval '1 second'), now() + ahead, ahead) AS t) THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', name) INTO keeps;
    IF NOT keeps THEN
        RETURN NULL;
    END IF;
    SELECT pg_current_snapshot() INTO seen;
    -- Below this all is settled, also what came from another cluster with xids that lie ahead of this one's.
    SELECT u.id INTO start FROM eventferry.unsettled_from() AS u;
    -- The newest first: what is not settled is mostly there.
    EXECUTE format('SELECT EXISTS (SELECT FROM (SELECT * FROM %s WHERE id > $1 ORDER BY id DESC) AS o
                                   JOIN eventferry.stands() AS s ON s.lane = o.lane_hash %% $2
                                   WHERE NOT eventferry.is_settled(o.xid, o.id, s))', name) INTO keeps USING start, lanes;
    IF keeps THEN
        RETURN NULL;
    END IF;
    SELECT c.reltuples::bigint INTO held FROM pg_class AS c WHERE c.oid = name::regclass;
    IF held <= 0 THEN
        -- Never analyzed: not large.
        EXECUTE format('SELECT count(*) FROM %s', name) INTO held;
    END IF;
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', name);
    -- Under the lock, whatever was committed since: a transaction begun long ago may have written here meanwhile.
    EXECUTE format('SELECT EXISTS (SELECT FROM %s AS o WHERE o.xid >= pg_snapshot_xmin($1)
                                   AND o.id > $2 AND NOT pg_visible_in_snapshot(o.xid, $1))', name)
    INTO keeps USING seen, start;
    IF keeps THEN
        RETURN NULL;
    END IF;
    EXECUTE format('TRUNCATE ONLY %s', name);
    RETURN held;
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END
$$;

-- Removes old rows of the relays' own books: positions and heartbeats but the newest, windows and anchors that no
-- position needs.
CREATE FUNCTION eventferry.prune() RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    oldest xid8;
BEGIN
    PERFORM eventferry.require_read_committed();
    DELETE FROM eventferry.position AS p USING eventferry.lane AS l
    WHERE p.lane = l.lane AND p.version < (SELECT n.version FROM eventferry.position AS n WHERE n.lane = l.lane
                                           ORDER BY n.version DESC LIMIT 1);
    -- A lane that stood still may be settled next in any window that is not older than its own.
    DELETE FROM eventferry.read_window AS w
    WHERE w.opened_at < clock_timestamp() - interval '1 minute'
      AND pg_snapshot_xmax(w.cur) < (
          SELECT pg_snapshot_xmax(p.cur)
          FROM eventferry.positions((SELECT array_agg(l.lane) FROM eventferry.lane AS l)) AS p
          ORDER BY pg_snapshot_xmax(p.cur) LIMIT 1)
      AND NOT EXISTS (SELECT FROM eventferry.position AS p WHERE p.read_window = w.id);
    DELETE FROM eventferry.beat AS b USING eventferry.relay AS r
    WHERE b.relay = r.id AND b.at < (SELECT n.at FROM eventferry.beat AS n WHERE n.relay = r.id
                                     ORDER BY n.at DESC LIMIT 1);
    DELETE FROM eventferry.relay AS r
    WHERE NOT EXISTS (SELECT FROM eventferry.lane AS l WHERE l.owner = r.id)
      AND NOT EXISTS (SELECT FROM eventferry.beat AS b
                      WHERE b.relay = r.id AND b.until > clock_timestamp() - interval '1 hour')
      AND r.first_seen < clock_timestamp() - interval '1 hour';
    DELETE FROM eventferry.beat AS b WHERE b.until < clock_timestamp() - interval '1 hour'
      AND NOT EXISTS (SELECT FROM eventferry.relay AS r WHERE r.id = b.relay);
    SELECT u.xid INTO oldest FROM eventferry.unsettled_from() AS u;
    DELETE FROM eventferry.anchor AS a
    WHERE a.xid < (SELECT n.xid FROM eventferry.anchor AS n WHERE n.xid < oldest ORDER BY n.xid DESC LIMIT 1);
END
$$;

-- Committed events that are not settled, lane by lane, counted up to `most` over all.
CREATE FUNCTION eventferry.lag(most bigint)
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
        SELECT s FROM eventferry.stands() AS s
    ), unsettled AS (
        SELECT (s.s).lane, o.created_at
        FROM eventferry.outbox AS o JOIN stands AS s ON (s.s).lane = o.lane_hash % lanes
        WHERE o.id > start AND NOT eventferry.is_settled(o.xid, o.id, s.s)
        LIMIT most
    )
    SELECT u.lane, count(*), min(u.created_at) FROM unsettled AS u GROUP BY u.lane;
END
$$;
