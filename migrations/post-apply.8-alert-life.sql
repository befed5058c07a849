-- What becomes of an alert: acknowledged, snoozed, resolved by its cause or by a person, pruned.

-- close_alerts: open -> resolved, whatever it waits for. Channels that were told are told of it.
-- Returns the ids that it resolved.
CREATE OR REPLACE FUNCTION public.close_alerts(_ids uuid[], _actor text, _note text)
RETURNS SETOF uuid
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _closed uuid[];
BEGIN
    WITH locked AS MATERIALIZED (
        SELECT a.id
        FROM public.job_alerts a
        WHERE a.id = ANY (_ids)
          AND a.resolved_at IS NULL
        ORDER BY a.fingerprint
        FOR UPDATE
    ),
    won AS (
        UPDATE public.job_alerts a
        SET resolved_at = now(),
            snoozed_until = NULL,
            tell_after = NULL
        WHERE a.id IN (SELECT l.id FROM locked l)
        RETURNING a.id
    )
    SELECT coalesce(array_agg(w.id), '{}') INTO _closed FROM won w;
    INSERT INTO public.job_alert_history (alert_id, event, actor, note)
    SELECT c.id, 'resolved', _actor, _note
    FROM unnest(_closed) AS c (id);
    -- Whoever is sending may have told it: its record finds a newer notice owed.
    UPDATE public.job_alert_deliveries d
    SET notice = 'resolved',
        round = d.round + 1,
        attempts = CASE WHEN d.status = 'sending' THEN d.attempts ELSE 0 END,
        due_after = CASE WHEN d.status = 'sending' THEN d.due_after ELSE now() END,
        status = CASE
            WHEN d.status = 'sending' THEN 'sending'
            WHEN d.told_at IS NULL THEN 'skipped'
            ELSE 'pending'
        END
    WHERE d.alert_id = ANY (_closed);
    RETURN QUERY SELECT unnest(_closed);
END
$$;

-- resolve_alerts: the causes with these fingerprints are gone; how many alerts that resolved.
CREATE OR REPLACE FUNCTION public.resolve_alerts(_fingerprints text[], _actor text DEFAULT 'check')
RETURNS integer
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    SELECT count(*)::integer
    FROM public.close_alerts(
        ARRAY (
            SELECT a.id
            FROM public.job_alerts a
            WHERE a.fingerprint = ANY (_fingerprints)
              AND a.resolved_at IS NULL
        ),
        _actor,
        NULL::text
    )
$$;

-- resolve_failed_alerts: resolves each job_failed whose jobs are all settled; how many that were.
-- Jobs are looked at, never locked: a transition that fails one of them again counts it again.
CREATE OR REPLACE FUNCTION public.resolve_failed_alerts()
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _open uuid[];
BEGIN
    UPDATE public.job_alert_jobs c
    SET requeued = false,
        settled = true
    FROM public.analysis_jobs j
    WHERE c.requeued
      AND j.id = c.job_id
      AND j.status IN ('completed', 'cancelled');
    -- Locked before it is asked whether a job is left: a failure that waits for the lock finds the
    -- alert resolved and raises another.
    _open := ARRAY (
        SELECT a.id
        FROM public.job_alerts a
        WHERE a.resolved_at IS NULL
          AND a.alert_type = 'job_failed'
          AND NOT EXISTS (
              SELECT 1 FROM public.job_alert_jobs c WHERE c.alert_id = a.id AND NOT c.settled
          )
        ORDER BY a.fingerprint
        FOR UPDATE SKIP LOCKED
    );
    RETURN count(*)
    FROM public.close_alerts(
        ARRAY (
            SELECT o.id
            FROM unnest(_open) AS o (id)
            WHERE NOT EXISTS (
                SELECT 1 FROM public.job_alert_jobs c WHERE c.alert_id = o.id AND NOT c.settled
            )
        ),
        'jobs settled'::text,
        NULL::text
    );
END
$$;

-- resolve_alert: open -> resolved, by a person. Returns resolved, also where it was, or null when
-- there is no such alert.
CREATE OR REPLACE FUNCTION public.resolve_alert(_id uuid, _actor text, _note text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    PERFORM public.close_alerts(ARRAY[_id], _actor, _note);
    RETURN (SELECT 'resolved' FROM public.job_alerts a WHERE a.id = _id);
END
$$;

-- acknowledge_alert: open -> acknowledged: somebody knows, and it stays quiet. Returns acknowledged
-- | resolved (too late, nothing changed), or null when there is no such alert.
CREATE OR REPLACE FUNCTION public.acknowledge_alert(
    _id uuid,
    _by uuid,
    _actor text,
    _note text DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    UPDATE public.job_alerts
    SET acknowledged_at = now(),
        acknowledged_by = _by,
        acknowledged_note = _note,
        acknowledged_occurrences = occurrences,
        snoozed_until = NULL,
        tell_after = NULL
    WHERE id = _id
      AND resolved_at IS NULL;
    IF NOT FOUND THEN
        RETURN (SELECT 'resolved' FROM public.job_alerts a WHERE a.id = _id);
    END IF;
    INSERT INTO public.job_alert_history (alert_id, event, actor, note)
    VALUES (_id, 'acknowledged', _actor, _note);
    -- Who is reminded no more needs no reminder that is still on its way; and the channel that
    -- pages people is told that one of them is awake.
    UPDATE public.job_alert_deliveries
    SET status = 'skipped'
    WHERE alert_id = _id
      AND notice = 'reminder'
      AND status IN ('pending', 'undelivered');
    UPDATE public.job_alert_deliveries
    SET notice = 'acknowledged',
        round = round + 1,
        attempts = CASE WHEN status = 'sending' THEN attempts ELSE 0 END,
        due_after = CASE WHEN status = 'sending' THEN due_after ELSE now() END,
        status = CASE WHEN status = 'sending' THEN status ELSE 'pending' END
    WHERE alert_id = _id
      AND channel = 'pagerduty'
      AND (told_at IS NOT NULL OR status = 'sending');
    RETURN 'acknowledged';
END
$$;

-- snooze_alert: open or acknowledged -> quiet until then, and told again if it is still open.
-- Returns snoozed | resolved (too late, nothing changed), or null when there is no such alert.
CREATE OR REPLACE FUNCTION public.snooze_alert(
    _id uuid,
    _until timestamptz,
    _actor text,
    _note text DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    UPDATE public.job_alerts
    SET snoozed_until = _until,
        tell_after = _until,
        acknowledged_at = NULL,
        acknowledged_by = NULL,
        acknowledged_note = NULL,
        acknowledged_occurrences = NULL
    WHERE id = _id
      AND resolved_at IS NULL;
    IF NOT FOUND THEN
        RETURN (SELECT 'resolved' FROM public.job_alerts a WHERE a.id = _id);
    END IF;
    INSERT INTO public.job_alert_history (alert_id, event, actor, note)
    VALUES (_id, 'snoozed', _actor, _note);
    UPDATE public.job_alert_deliveries
    SET status = 'skipped'
    WHERE alert_id = _id
      AND notice = 'reminder'
      AND status IN ('pending', 'undelivered');
    RETURN 'snoozed';
END
$$;

-- prune_alerts: deletes up to _limit alerts that were resolved longer ago than _older_than, with
-- their history; how many. Those that cannot be deleted are passed over, as prune_jobs does.
CREATE OR REPLACE FUNCTION public.prune_alerts(_older_than interval, _limit integer)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _until constant timestamptz := clock_timestamp() + interval '5 seconds';
    _rows tid[];
    _names text[];
    _pruned integer := 0;
BEGIN
    DELETE FROM public.job_prune_holds h WHERE h.held_at <= now() - interval '1 day';
    WHILE _pruned = 0 AND clock_timestamp() < _until LOOP
        SELECT array_agg(o.row), array_agg(o.id::text) INTO _rows, _names
        FROM (
            SELECT a.ctid AS row, a.id
            FROM public.job_alerts a
            WHERE a.created_at < now() - _older_than
              AND a.resolved_at < now() - _older_than
              AND NOT EXISTS (
                  SELECT
                  FROM public.job_prune_holds h
                  WHERE h.table_name = 'job_alerts'
                    AND h.row_name = a.id::text
              )
            ORDER BY a.created_at, a.id
            LIMIT _limit
            FOR UPDATE SKIP LOCKED
        ) AS o;
        EXIT WHEN _rows IS NULL;
        _pruned := public.delete_or_hold('job_alerts', _rows, _names);
    END LOOP;
    RETURN _pruned;
END
$$;
