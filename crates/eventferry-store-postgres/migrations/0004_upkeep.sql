-- purpose: removing what is consumed, and taking stock.

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
    oldest xid8;
    held bigint;
    keeps boolean;
BEGIN
    -- The slot that is written to now, and those that a retention ago still were, stay.
    IF slot IN (SELECT eventferry.slot_of(t) FROM generate_series(
            now() - retention - eventferry.slot_seconds() * interval '1 second', now() + interval '1 minute',
            least(eventferry.slot_seconds(), 60) * interval '1 second') AS t) THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', name) INTO keeps;
    IF NOT keeps THEN
        RETURN NULL;
    END IF;
    SELECT u.xid INTO oldest FROM eventferry.unsettled_from() AS u;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s AS o WHERE o.xid >= $1)', name) INTO keeps USING oldest;
    IF keeps THEN
        RETURN NULL;
    END IF;
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', name);
    -- Looked at again under the lock: a transaction begun long ago may have written here meanwhile.
    EXECUTE format('SELECT EXISTS (SELECT FROM %s AS o WHERE o.xid >= $1)', name) INTO keeps USING oldest;
    IF keeps THEN
        RETURN NULL;
    END IF;
    SELECT greatest(c.reltuples, 0)::bigint INTO held FROM pg_class AS c WHERE c.oid = name::regclass;
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
    DELETE FROM eventferry.read_window AS w
    WHERE w.opened_at < clock_timestamp() - interval '1 minute'
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
        SELECT p.* FROM eventferry.positions((SELECT array_agg(l.lane) FROM eventferry.lane AS l)) AS p
    ), unsettled AS (
        SELECT s.lane, o.created_at
        FROM eventferry.outbox AS o JOIN stands AS s ON s.lane = o.lane_hash % lanes
        WHERE o.id > start
          AND NOT (pg_visible_in_snapshot(o.xid, s.prev)
                   OR (o.id <= s.last_id AND (o.id <= s.restored_through OR pg_visible_in_snapshot(o.xid, s.cur))
                       -- A beginning after a restore has read nothing yet.
                       AND NOT (s.restored_through > 0 AND s.prev::text = s.cur::text)))
        LIMIT most
    )
    SELECT u.lane, count(*), min(u.created_at) FROM unsettled AS u GROUP BY u.lane;
END
$$;
