-- purpose: a relay stays at the doorbell while it is rung, and says so when it gets up.
--
-- Before, a ring ended the lying down, and the next one began with a look. Now the lock is kept until there is more to
-- do than ringing is worth: whoever lies beside it must tell such a ring from the word that nobody lies there any longer.

-- Gives the lock up, and tells those who slept beside it, for nobody rings for them now.
CREATE OR REPLACE FUNCTION eventferry.get_up() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_catalog.set_config('idle_session_timeout', '0', false);
    IF pg_catalog.pg_advisory_unlock(7237125663275445356) THEN
        PERFORM pg_catalog.pg_notify('eventferry', 'got up');
    END IF;
END
$$;
