-- purpose: a claim on lanes that comes late changes nothing.

-- Claims of one process are numbered, so that a late one is known.
ALTER TABLE eventferry.beat ADD COLUMN claim bigint NOT NULL DEFAULT 0;

DROP FUNCTION eventferry.hold(text, uuid, bigint, integer[], bigint[], integer);
-- Beats, frees what this relay does not keep, takes up to take_max lanes. See the contract, Lanes::hold.
-- lease_ms: how long from now, 0 to leave. rival_until: another incarnation under this name lives until then, and
-- nothing was done.
CREATE FUNCTION eventferry.hold(
    relay text, incarnation uuid, claim bigint, lease_ms bigint, keep_lanes integer[], keep_epochs bigint[], take_max integer,
    OUT lanes integer[], OUT epochs bigint[], OUT relays_live bigint, OUT lanes_total bigint, OUT rival_until timestamptz
) LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me text := relay;
    my_incarnation uuid := incarnation;
    my_claim bigint := claim;
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
    INSERT INTO eventferry.beat (relay, until, incarnation, claim)
    VALUES (me, clock_timestamp() + lease_ms * interval '1 millisecond', my_incarnation, my_claim);

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
            UPDATE eventferry.lane AS l SET owner = me, epoch = l.epoch + 1
            FROM (SELECT c.lane FROM eventferry.lane AS c
                  WHERE c.owner IS NULL OR (c.owner <> me AND NOT eventferry.relay_lives(c.owner))
                  ORDER BY c.lane LIMIT greatest(take_max, 0) FOR UPDATE SKIP LOCKED) AS free
            WHERE l.lane = free.lane;
        END IF;
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
