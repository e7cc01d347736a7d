-- purpose: what a relay asks again and again while little happens costs little.

-- Opens a window from each of `prevs` to one common `cur`. Call it in a transaction in which nothing was done before.
-- As before, and: its plans are kept, which cost many times what they do; and an anchor is added after fewer events, for
-- those since the last one are gone over by every window. It need not be on disk: without it, those before it hold, and
-- whatever is told of it later is behind it in the write-ahead log.
CREATE OR REPLACE FUNCTION eventferry.open_windows(
    prevs pg_snapshot[],
    OUT cur pg_snapshot, OUT floors bigint[], OUT late_floors bigint[], OUT late_throughs bigint[], OUT lsn pg_lsn,
    OUT system_identifier bigint, OUT timeline integer
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    newest bigint;
    anchored bigint;
    mine xid8;
    prev pg_snapshot;
    floor bigint;
    late_floor bigint;
    late_through bigint;
BEGIN
    PERFORM eventferry.require_read_committed();
    -- First the sequence, then, in a later statement, an xid of our own: every event whose xid is greater was given
    -- its id later than `newest`. The other way round, or in one statement, events are lost.
    newest := eventferry.newest_id();
    SELECT a.floor INTO anchored FROM eventferry.anchor AS a ORDER BY a.xid DESC LIMIT 1;
    IF newest - coalesce(anchored, 0) >= 100 THEN
        mine := pg_current_xact_id();
        INSERT INTO eventferry.anchor (xid, floor) VALUES (mine, newest);
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;

    SELECT pg_current_snapshot() INTO cur;
    -- After the snapshot: what it shows is durable once this much of the log is flushed.
    SELECT pg_current_wal_insert_lsn() INTO lsn;
    SELECT h.system_identifier, h.timeline INTO system_identifier, timeline FROM eventferry.current_history() AS h;

    -- One after the other: in one statement for all, making it ready costs more than all the rest.
    FOREACH prev IN ARRAY prevs LOOP
        SELECT a.floor INTO floor FROM eventferry.anchor AS a WHERE a.xid < pg_snapshot_xmax(prev)
        ORDER BY a.xid DESC LIMIT 1;
        SELECT a.floor INTO late_floor FROM eventferry.anchor AS a WHERE a.xid < pg_snapshot_xmin(prev)
        ORDER BY a.xid DESC LIMIT 1;
        late_through := 0;
        IF pg_snapshot_xmin(prev) < pg_snapshot_xmax(prev) THEN
            -- Up to which id there are late rows. A snapshot is newer than `cur` here, so there may seem to be more;
            -- never fewer.
            SELECT coalesce(max(late.id), 0) INTO late_through FROM pg_snapshot_xip(prev) AS running (xid)
            CROSS JOIN LATERAL (SELECT o.id FROM eventferry.outbox AS o WHERE o.xid = running.xid
                                ORDER BY o.xid DESC, o.id DESC LIMIT 1) AS late;
        END IF;
        floors := floors || coalesce(floor, 0);
        late_floors := late_floors || coalesce(late_floor, 0);
        late_throughs := late_throughs || late_through;
    END LOOP;
END
$$;

-- Opens a window from prev and reads its first page, in one round trip: what a relay does that has read everything.
-- The first row is the window, with no id: `cur`, and in `bounds` its floor, late floor and late through, the cluster
-- and the timeline. Then come the rows of read_page(). The last row, with no id either, says whether the write-ahead log
-- is on disk as far as `cur` needs it, once this call's transaction is committed. It is asked last, for by then it is
-- where commits are synchronous and few; if it is not, and there are rows, this transaction's own commit puts it there.
-- mask, lanes, rows_max, scan_max: as in read_page().
-- index: those of open_windows() and read_page().
CREATE FUNCTION eventferry.look(
    prev pg_snapshot, mask bytea, lanes integer, rows_max integer, scan_max integer
) RETURNS TABLE (
    id bigint, lane integer, created_at timestamptz, message_id uuid, topic text, aggregate_type text,
    aggregate_id text, key bytea, payload bytea, content_type text, headers bytea[], partition integer,
    cur pg_snapshot, bounds bigint[], flushed boolean
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    opened record;
    seen pg_snapshot := prev;
    handed bigint;
    newest bigint;
BEGIN
    SELECT * INTO opened FROM eventferry.open_windows(ARRAY[prev]);
    cur := opened.cur;
    bounds := ARRAY[opened.floors[1], opened.late_floors[1], opened.late_throughs[1], opened.system_identifier,
                    opened.timeline];
    RETURN NEXT;
    IF opened.late_throughs[1] = 0 THEN
        -- Whoever ran then has written no event: a page need not look for late ones.
        seen := format('%1$s:%1$s:', pg_snapshot_xmax(prev))::pg_snapshot;
    END IF;
    RETURN QUERY
    SELECT p.*, NULL::pg_snapshot, NULL::bigint[], NULL::boolean
    FROM eventferry.read_page(seen, opened.cur, opened.floors[1], opened.late_floors[1], 0, 0, mask, lanes, rows_max,
                              scan_max) AS p;
    GET DIAGNOSTICS handed = ROW_COUNT;
    cur := NULL;
    bounds := NULL;
    flushed := pg_current_wal_flush_lsn() >= opened.lsn;
    IF NOT flushed AND handed > 0 THEN
        -- As flush() does, by the commit of this very call: it is answered when that is on disk.
        newest := eventferry.newest_id();
        INSERT INTO eventferry.anchor (xid, floor) VALUES (pg_current_xact_id(), newest) ON CONFLICT DO NOTHING;
        PERFORM set_config('synchronous_commit', 'local', true);
        flushed := true;
    END IF;
    RETURN NEXT;
END
$$;
