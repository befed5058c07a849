-- Alerts are raised once for each cause and told until they are dealt with. A cause has a
-- fingerprint; while its alert is open, whatever else is seen of it only counts.
-- Alert rows are locked last, after jobs and projects, and in the order of their fingerprints.

-- One alert speaks for the jobs of many: it does not go, and is not locked, with the job that it
-- names, whatever an existing table says.
DO $$
DECLARE
    _name text;
BEGIN
    FOR _name IN
        SELECT c.conname
        FROM pg_constraint c
        WHERE c.conrelid = 'public.job_alerts'::regclass
          AND c.confrelid = 'public.analysis_jobs'::regclass
          AND c.contype = 'f'
    LOOP
        EXECUTE format('ALTER TABLE public.job_alerts DROP CONSTRAINT %I', _name);
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION public.alert_severity_rank(_severity text)
RETURNS integer
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT array_position(ARRAY['warning', 'error', 'critical'], _severity)
$$;

-- raise_alert: nothing or open -> open. Returns the alert's id.
-- `_occurrences` is how many more were seen: a condition that merely still holds is seen 0 more.
-- An acknowledged alert stays quiet until its severity rises or it has been seen ten times as
-- often as whoever acknowledged it knew: then it is open again and is told.
CREATE OR REPLACE FUNCTION public.raise_alert(
    _fingerprint text,
    _alert_type text,
    _severity text,
    _message text,
    _details jsonb DEFAULT '{}',
    _job_id uuid DEFAULT NULL,
    _occurrences bigint DEFAULT 1
)
RETURNS uuid
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _id uuid;
    _old public.job_alerts;
    _worse boolean;
    _reopened boolean;
BEGIN
    LOOP
        SELECT a.* INTO _old
        FROM public.job_alerts a
        WHERE a.fingerprint = _fingerprint
          AND a.resolved_at IS NULL
        FOR NO KEY UPDATE;
        EXIT WHEN FOUND;

        INSERT INTO public.job_alerts (
            fingerprint, job_id, alert_type, severity, message, details, occurrences, tell_after
        )
        VALUES (
            _fingerprint, _job_id, _alert_type, _severity, left(_message, 1000),
            coalesce(_details, '{}'), greatest(_occurrences, 1), now()
        )
        ON CONFLICT DO NOTHING
        RETURNING id INTO _id;
        IF FOUND THEN
            INSERT INTO public.job_alert_history (alert_id, event) VALUES (_id, 'raised');
            RETURN _id;
        END IF;
        -- Somebody else raised it a moment ago: it is there at the next look, or resolved again.
    END LOOP;

    _worse := public.alert_severity_rank(_severity) > public.alert_severity_rank(_old.severity);
    _reopened := _old.acknowledged_at IS NOT NULL AND (
        _worse OR _old.occurrences + _occurrences >= 10 * _old.acknowledged_occurrences
    );
    UPDATE public.job_alerts
    SET occurrences = occurrences + _occurrences,
        last_seen_at = now(),
        severity = CASE WHEN _worse THEN _severity ELSE severity END,
        message = left(_message, 1000),
        details = coalesce(details, '{}') || coalesce(_details, '{}')
    WHERE id = _old.id;
    IF _reopened OR (_worse AND coalesce(_old.snoozed_until <= now(), true)) THEN
        UPDATE public.job_alerts
        SET acknowledged_at = NULL,
            acknowledged_by = NULL,
            acknowledged_note = NULL,
            acknowledged_occurrences = NULL,
            tell_after = now()
        WHERE id = _old.id;
        INSERT INTO public.job_alert_history (alert_id, event)
        VALUES (_old.id, CASE WHEN _reopened THEN 'reopened' ELSE 'worsened' END);
    END IF;
    RETURN _old.id;
END
$$;

-- failure_fingerprint: what two failures have in common that are one cause: job type, error code
-- and message, whatever ids, numbers and quoted names stand in it.
CREATE OR REPLACE FUNCTION public.failure_fingerprint(_job_type text, _code text, _message text)
RETURNS text
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT 'job_failed:' || left(_job_type, 255) || ':' || md5(left(coalesce(_code, ''), 255) || ' ' || regexp_replace(
        regexp_replace(
            left(coalesce(_message, ''), 300),
            '''[^'']*''|"[^"]*"|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\m[0-9a-fA-F]{12,}\M', '#', 'g'),
        '[0-9]+', '#', 'g'))
$$;

-- raise_failed_jobs: counts these failed jobs, one alert for each cause. The caller holds them.
-- With fifty causes open for one job type, those beyond share an alert. Whoever fails jobs of the
-- same cause meets here and waits its turn, still for less than anybody's deadlock_timeout.
CREATE OR REPLACE FUNCTION public.raise_failed_jobs(_ids uuid[])
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET lock_timeout = '500ms'
AS $$
DECLARE
    _cause record;
    _fingerprint text;
    _alert uuid;
BEGIN
    FOR _cause IN
        SELECT
            f.fingerprint,
            count(*) AS failures,
            array_agg(f.id) AS ids,
            -- One of them speaks for all.
            max(f.id::text)::uuid AS id
        FROM (
            SELECT
                a.id,
                public.failure_fingerprint(a.job_type, a.error_code, a.error_message) AS fingerprint
            FROM public.analysis_jobs a
            WHERE a.id = ANY (_ids)
              AND a.status = 'failed'
        ) AS f
        GROUP BY f.fingerprint
        ORDER BY f.fingerprint
    LOOP
        _fingerprint := _cause.fingerprint;
        IF NOT EXISTS (
            SELECT 1 FROM public.job_alerts a WHERE a.fingerprint = _fingerprint AND a.resolved_at IS NULL
        ) AND (
            SELECT count(*) >= 50
            FROM public.job_alerts a
            WHERE a.resolved_at IS NULL
              AND a.alert_type = 'job_failed'
              AND starts_with(a.fingerprint, left(_fingerprint, -32))
        ) THEN
            _fingerprint := left(_fingerprint, -32) || 'others';
        END IF;
        SELECT public.raise_alert(
            _fingerprint,
            'job_failed'::text,
            'error'::text,
            format('%s failed: %s', left(j.job_type, 255), coalesce(
                nullif(left(j.error_message, 500), ''), left(j.error_code, 255), 'no message'
            )),
            jsonb_strip_nulls(jsonb_build_object(
                'job_type', left(j.job_type, 255),
                'queue', left(j.queue, 255),
                'last_job_id', j.id,
                'user_id', j.user_id,
                'project_id', j.project_id,
                'error_code', left(j.error_code, 255),
                'error_message', left(j.error_message, 2000),
                'attempts', j.retry_count::bigint + 1,
                'max_retries', j.max_retries,
                'crashes', nullif(j.crash_count, 0),
                'worker_id', left(j.worker_id, 255)
            )),
            j.id,
            _cause.failures
        )
        INTO _alert
        FROM public.analysis_jobs j
        WHERE j.id = _cause.id;
        INSERT INTO public.job_alert_jobs AS c (job_id, alert_id)
        SELECT i.id, _alert
        FROM unnest(_cause.ids) AS i (id)
        ORDER BY i.id
        ON CONFLICT (job_id, alert_id) DO UPDATE
        SET requeued = false,
            settled = false
        WHERE c.requeued OR c.settled;
    END LOOP;
END
$$;

-- raise_updated_jobs: what plain UPDATEs failed, when their statement ends: in one go, so that
-- alerts are locked in order and ten thousand rows are one change of their alert.
CREATE OR REPLACE FUNCTION public.raise_updated_jobs()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _ids uuid[];
BEGIN
    -- Filled by follow_job. Rows that others are writing are not seen.
    WITH gone AS (
        DELETE FROM public.job_alert_failures RETURNING job_id
    )
    SELECT array_agg(g.job_id) INTO _ids FROM gone g;
    IF _ids IS NOT NULL THEN
        PERFORM public.raise_failed_jobs(_ids);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER wastewise_raise_updated
AFTER UPDATE ON public.analysis_jobs
FOR EACH STATEMENT
WHEN (
    row_security_active('public.analysis_jobs'::regclass)
    OR coalesce(current_setting('wastewise.transition_' || pg_trigger_depth()::text, true), '') = ''
)
EXECUTE FUNCTION public.raise_updated_jobs();

-- note_requeued_jobs: these failed jobs go round again: their alerts look what becomes of them.
CREATE OR REPLACE FUNCTION public.note_requeued_jobs(_ids uuid[])
RETURNS void
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    UPDATE public.job_alert_jobs c
    SET requeued = true
    WHERE c.job_id = ANY (_ids)
      AND NOT c.requeued
      AND NOT c.settled
$$;
