-- How a write of ours is told from anybody else's. Each function that changes analysis_jobs says
-- begin_transition() and, before it returns, end_transition(): in between the triggers leave its
-- rows alone. What they set is read by every row's trigger, so it is a setting and no table; and
-- anybody may set a setting, so its value is a secret that only the owner of schema_info can read,
-- and each statement proves it once, before its first row.
-- Each depth of triggers has its own: what somebody's trigger writes while a row of ours changes is
-- no write of ours.

CREATE OR REPLACE FUNCTION public.begin_transition()
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
END
$$;

CREATE OR REPLACE FUNCTION public.end_transition()
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
END
$$;

CREATE OR REPLACE FUNCTION public.prove_transition()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    -- That of the statement; this function is one deeper.
    _setting text := 'wastewise.transition_' || (pg_trigger_depth() - 1)::text;
BEGIN
    IF current_setting(_setting) IS DISTINCT FROM (SELECT i.transition_key FROM public.schema_info i) THEN
        PERFORM set_config(_setting, '', true);
    END IF;
    RETURN NULL;
END
$$;
