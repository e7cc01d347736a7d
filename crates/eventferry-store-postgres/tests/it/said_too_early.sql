-- purpose: count how often the last id given is said to be one that is given only later.
-- $1 how often to look.
CREATE OR REPLACE FUNCTION said_too_early(looks integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    said bigint;
    early bigint := 0;
BEGIN
    FOR look IN 1 .. looks LOOP
        said := eventferry.newest_id();
        IF nextval('eventferry.outbox_id') <= said THEN
            early := early + 1;
        END IF;
    END LOOP;
    RETURN early;
END
$$;
