-- purpose: the doorbell: inserts wake a relay that sleeps, and cost next to nothing while none does.
--
-- NOTIFY takes a lock of the whole database at commit, so it is worth its price only where somebody sleeps. A relay that
-- lies down holds an exclusive advisory lock on the session on which it listens; whoever enqueues tries the same lock
-- shared, until the end of its transaction, and notifies only if it is refused. Both only try: a session that waits for a
-- lock keeps its snapshot, and with it every dead row of the database.
-- The lock's key is the word `doorbell` in ASCII, 7237125663275445356; the channel is `eventferry`.

-- The trigger's condition does the trying, so this runs only where somebody sleeps.
CREATE FUNCTION eventferry.ring() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.pg_notify('eventferry', '');
    RETURN NULL;
END
$$;

-- Hangs the doorbell, or takes it down; says whether it hangs. What hangs already stays: each change locks the outbox for
-- a moment against inserts. A transaction that has notified cannot be prepared (PREPARE TRANSACTION), so who prepares
-- transactions that enqueue goes without a bell.
CREATE FUNCTION eventferry.set_doorbell(hung boolean) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    hangs boolean := EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
                             WHERE t.tgrelid = 'eventferry.outbox'::regclass AND t.tgname = 'doorbell');
BEGIN
    IF hung AND NOT hangs THEN
        CREATE TRIGGER doorbell AFTER INSERT ON eventferry.outbox FOR EACH STATEMENT
        WHEN (NOT pg_catalog.pg_try_advisory_xact_lock_shared(7237125663275445356))
        EXECUTE FUNCTION eventferry.ring();
    ELSIF hangs AND NOT hung THEN
        DROP TRIGGER doorbell ON eventferry.outbox;
    END IF;
    RETURN hung;
END
$$;

-- Looks whether anything was committed that `prev` did not see, without opening a window: what an idle relay asks.
-- newest: the last id that was given; the log stands still while it stays the same and nothing is stirred.
CREATE FUNCTION eventferry.glance(
    prev pg_snapshot, OUT stirred boolean, OUT newest bigint, OUT system_identifier bigint, OUT timeline integer
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET max_parallel_workers_per_gather = 0
SET jit = off
AS $$
DECLARE
    cur pg_snapshot;
BEGIN
    PERFORM eventferry.require_read_committed();
    newest := eventferry.newest_id();
    SELECT pg_current_snapshot() INTO cur;
    SELECT h.system_identifier, h.timeline INTO system_identifier, timeline FROM eventferry.current_history() AS h;
    -- Rows of another cluster may have xids that lie ahead of this one's: they are visible, and not in `cur`.
    stirred := cur::text <> prev::text AND (
        EXISTS (SELECT FROM eventferry.outbox AS o
                WHERE o.xid >= pg_snapshot_xmax(prev) AND o.xid < pg_snapshot_xmax(cur)
                  AND pg_visible_in_snapshot(o.xid, cur))
        OR EXISTS (SELECT FROM pg_snapshot_xip(prev) AS running (xid)
                   WHERE pg_visible_in_snapshot(running.xid, cur)
                     AND EXISTS (SELECT FROM eventferry.outbox AS o WHERE o.xid = running.xid)));
END
$$;

-- Lies down, on a session that listens: 'lying', under a lock of its own; 'beside' another sleeper, for whose sake
-- everybody rings too; 'awake', because somebody is writing and would not ring; 'stirred', because there is something
-- that `prev` did not see. Only under the lock is it certain that whoever is not seen will ring: so it is tried first,
-- and then looked once more, in later statements.
CREATE FUNCTION eventferry.lie_down(prev pg_snapshot) RETURNS text LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mine boolean := pg_try_advisory_lock(7237125663275445356);
BEGIN
    IF NOT mine THEN
        PERFORM FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.classid = 1685024626 AND l.objid = 1650814060 AND l.objsubid = 1
          AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
          AND l.mode = 'ExclusiveLock' AND l.granted;
        IF NOT FOUND THEN
            RETURN 'awake';
        END IF;
    END IF;
    IF (SELECT g.stirred FROM eventferry.glance(prev) AS g) THEN
        IF mine THEN
            PERFORM eventferry.get_up();
        END IF;
        RETURN 'stirred';
    END IF;
    IF mine THEN
        -- A relay that is frozen in its sleep would make everybody ring for good: the server ends its session. One
        -- that lives says something every 30 s.
        PERFORM set_config('idle_session_timeout', '90s', false);
    END IF;
    RETURN CASE WHEN mine THEN 'lying' ELSE 'beside' END;
END
$$;

-- Gives the lock up, and tells those who slept beside it, for nobody rings for them now.
CREATE FUNCTION eventferry.get_up() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_catalog.set_config('idle_session_timeout', '0', false);
    IF pg_catalog.pg_advisory_unlock(7237125663275445356) THEN
        PERFORM pg_catalog.pg_notify('eventferry', '');
    END IF;
END
$$;

-- Which slots of the ring hold something and are past this retention: the others need no look.
CREATE FUNCTION eventferry.old_slots(
    retention interval, OUT slots integer, OUT slot_seconds integer, OUT old integer[]
) LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    slot integer;
    keeps boolean;
    recent smallint[];
BEGIN
    slots := eventferry.slots();
    slot_seconds := eventferry.slot_seconds();
    old := '{}';
    SELECT array_agg(DISTINCT eventferry.slot_of(t)) INTO recent
    FROM generate_series(now() - greatest(retention, slot_seconds * interval '1 second'), now(),
                         slot_seconds / 10.0 * interval '1 second') AS t;
    FOR slot IN 0 .. slots - 1 LOOP
        IF slot <> ALL (recent) THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM eventferry.outbox_%s)', slot) INTO keeps;
            IF keeps THEN
                old := old || slot;
            END IF;
        END IF;
    END LOOP;
END
$$;

DO $$
BEGIN
    -- Whoever can prepare transactions may do so with one that enqueues: the bell is hung when it is asked for.
    PERFORM eventferry.set_doorbell(current_setting('max_prepared_transactions')::integer = 0);
END
$$;
