-- purpose: a look costs half as much: one function instead of five, and one query for the events of a moment.

-- As before, and: a session belongs to one cluster for life, so it reads the cluster's name once and keeps it in a setting
-- of its own. (A pooler may lend a client another session for each transaction: each has its own.)
CREATE OR REPLACE FUNCTION eventferry.current_history(OUT system_identifier bigint, OUT timeline integer)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    system_identifier := nullif(pg_catalog.current_setting('eventferry.system_identifier', true), '')::bigint;
    IF system_identifier IS NULL THEN
        SELECT c.system_identifier INTO system_identifier FROM pg_catalog.pg_control_system() AS c;
        PERFORM pg_catalog.set_config('eventferry.system_identifier', system_identifier::text, false);
    END IF;
    timeline :=
        ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer;
END
$$;

-- As before, in one function: what open_windows() does for one window, step by step; and what is near is read in one scan.
CREATE OR REPLACE FUNCTION eventferry.look(
    prev pg_snapshot, mask bytea, lanes integer, rows_max integer, scan_max integer
) RETURNS TABLE (
    id bigint, lane integer, created_at timestamptz, message_id uuid, topic text, aggregate_type text,
    aggregate_id text, key bytea, payload bytea, content_type text, headers bytea[], partition integer,
    cur pg_snapshot, bounds bigint[], flushed boolean
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET max_parallel_workers_per_gather = 0
SET jit = off
AS $$
DECLARE
    old_min xid8 := pg_snapshot_xmin(prev);
    old_max xid8 := pg_snapshot_xmax(prev);
    newest bigint;
    anchor record;
    taken pg_snapshot;
    lsn pg_lsn;
    history record;
    start bigint;
    late_start bigint;
    late_through bigint := 0;
    near boolean;
    handed bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM eventferry.require_read_committed();
    END IF;
    -- First the sequence, then, in a later statement, an xid of our own: every event whose xid is greater was given
    -- its id later than `newest`. The other way round, or in one statement, events are lost.
    newest := eventferry.newest_id();
    SELECT a.xid, a.floor INTO anchor FROM eventferry.anchor AS a ORDER BY a.xid DESC LIMIT 1;
    IF newest - coalesce(anchor.floor, 0) >= 100 THEN
        INSERT INTO eventferry.anchor (xid, floor) VALUES (pg_current_xact_id(), newest);
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;

    SELECT pg_current_snapshot() INTO taken;
    -- After the snapshot: what it shows is durable once this much of the log is flushed.
    lsn := pg_current_wal_insert_lsn();
    history := eventferry.current_history();

    -- The last anchor is mostly the one that is looked for.
    IF anchor.xid >= old_max THEN
        SELECT a.xid, a.floor INTO anchor FROM eventferry.anchor AS a WHERE a.xid < old_max ORDER BY a.xid DESC LIMIT 1;
    END IF;
    start := coalesce(anchor.floor, 0);
    IF anchor.xid >= old_min THEN
        SELECT a.xid, a.floor INTO anchor FROM eventferry.anchor AS a WHERE a.xid < old_min ORDER BY a.xid DESC LIMIT 1;
    END IF;
    late_start := coalesce(anchor.floor, 0);
    -- So many rows are gone over sooner than they are looked for.
    near := eventferry.newest_id() - late_start <= 500;
    IF near AND old_min < old_max THEN
        -- Anywhere: what is near may be gone over twice.
        late_through := 9223372036854775807;
    ELSIF old_min < old_max THEN
        -- Up to which id there are late rows. A snapshot is newer than `taken` here, so there may seem to be more;
        -- never fewer.
        SELECT coalesce(max(late.id), 0) INTO late_through FROM pg_snapshot_xip(prev) AS running (xid)
        CROSS JOIN LATERAL (SELECT o.id FROM eventferry.outbox AS o WHERE o.xid = running.xid
                            ORDER BY o.xid DESC, o.id DESC LIMIT 1) AS late;
        IF late_through = 0 THEN
            -- Whoever ran then has written no event: a page need not look for late ones.
            prev := format('%1$s:%1$s:', old_max)::pg_snapshot;
        END IF;
    END IF;
    cur := taken;
    bounds := ARRAY[start, late_start, late_through, history.system_identifier, history.timeline];
    RETURN NEXT;
    cur := NULL;
    bounds := NULL;

    IF near THEN
        -- Few rows to go over, one by one, as far as there are any: were the sequence behind them, it would cost more, and
        -- leave none out. Below `start` only late rows can be new: after a restore there are others of another cluster.
        RETURN QUERY
        SELECT o.id, o.lane_hash % lanes, o.created_at, o.message_id, o.topic, o.aggregate_type, o.aggregate_id,
               o.key, o.payload, o.content_type, o.headers, o.partition, NULL::pg_snapshot, NULL::bigint[], NULL::boolean
        FROM eventferry.outbox AS o
        WHERE o.id > late_start AND (o.id > start OR o.xid < old_max)
          AND pg_visible_in_snapshot(o.xid, taken) AND NOT pg_visible_in_snapshot(o.xid, prev)
          AND get_byte(mask, o.lane_hash % lanes) = 1
        ORDER BY o.id LIMIT rows_max;
    ELSE
        RETURN QUERY
        SELECT p.*, NULL::pg_snapshot, NULL::bigint[], NULL::boolean
        FROM eventferry.read_page(prev, taken, start, late_start, 0, 0, mask, lanes, rows_max, scan_max) AS p;
    END IF;
    GET DIAGNOSTICS handed = ROW_COUNT;

    flushed := pg_current_wal_flush_lsn() >= lsn;
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
