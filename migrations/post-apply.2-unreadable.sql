-- What becomes of a row that cannot be read or written on: it is failed, so that its owner sees it,
-- and stops nobody else.

-- bring_within_limits: what a constraint of ours would refuse at every change of these rows. The
-- caller holds them.
CREATE OR REPLACE FUNCTION public.bring_within_limits(_ids uuid[])
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
AS $$
BEGIN
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    UPDATE public.analysis_jobs j
    SET fence = greatest(j.fence, 0),
        priority = least(greatest(j.priority, 1), 10),
        retry_count = greatest(j.retry_count, 0),
        max_retries = least(greatest(j.max_retries, 0), 100),
        crash_count = greatest(j.crash_count, 0),
        timeout_seconds = CASE
            WHEN j.timeout_seconds > 0 AND j.timeout_seconds <= 604800 THEN j.timeout_seconds
        END,
        (idempotency_key, idempotency_hash) = (
            SELECT k.key, k.hash
            FROM (SELECT j.idempotency_key AS key, j.idempotency_hash AS hash) AS k
            WHERE k.hash IS NOT NULL
              AND length(k.key) BETWEEN 1 AND 255
        )
    WHERE j.id = ANY (_ids)
      AND public.unreadable_column(j) IS NOT NULL;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
END
$$;

-- fail_these_unreadable: pending or processing -> failed, with UNREADABLE_ROW and the alert of it;
-- how many. _why is what PostgreSQL said about them; NULL stands for pending ones with an
-- unreadable_column. Those that somebody holds are left.
CREATE OR REPLACE FUNCTION public.fail_these_unreadable(_ids uuid[], _why text)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
SET lock_timeout = '200ms'
AS $$
DECLARE
    _held uuid[];
    _whys text[];
    _failed uuid[];
BEGIN
    SELECT array_agg(u.id), array_agg(u.why)
    INTO _held, _whys
    FROM (
        SELECT
            a.id,
            coalesce(
                left(_why, 500),
                'nobody can work with the value of ' || public.unreadable_column(a)
            ) AS why
        FROM public.analysis_jobs a
        WHERE a.id = ANY (_ids)
          AND CASE
              WHEN _why IS NOT NULL THEN a.status IN ('pending', 'processing')
              ELSE a.status = 'pending' AND public.unreadable_column(a) IS NOT NULL
          END
        ORDER BY a.id
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS u;
    IF _held IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM public.bring_within_limits(_held);
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    WITH won AS (
        UPDATE public.analysis_jobs j
        SET status = 'failed',
            error_code = 'UNREADABLE_ROW',
            error_message = u.why,
            failed_at = now(),
            completed_at = now(),
            updated_at = now(),
            retry_after = NULL,
            estimated_completion = NULL
        FROM unnest(_held, _whys) AS u (id, why)
        WHERE j.id = ANY (_held)
          AND j.id = u.id
        RETURNING j.id
    ),
    gone AS (
        DELETE FROM public.job_queue q
        WHERE q.id = ANY (ARRAY (SELECT w.id FROM won w))
    )
    SELECT coalesce(array_agg(w.id), '{}') INTO _failed FROM won w;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
    PERFORM public.mirror_jobs_to_projects(_failed);
    PERFORM public.raise_failed_jobs(_failed);
    RETURN cardinality(_failed);
END
$$;

-- fail_unreadable_jobs: pending -> failed, for those of these jobs that have an unreadable_column.
-- Never raises for the sake of a row.
CREATE OR REPLACE FUNCTION public.fail_unreadable_jobs(_ids uuid[])
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
AS $$
DECLARE
    _unreadable uuid[] := ARRAY (
        SELECT a.id
        FROM public.analysis_jobs a
        WHERE a.id = ANY (_ids)
          AND a.status = 'pending'
          AND public.unreadable_column(a) IS NOT NULL
    );
    _id uuid;
BEGIN
    IF cardinality(_unreadable) = 0 THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM public.fail_these_unreadable(_unreadable, NULL::text);
        RETURN;
    EXCEPTION WHEN others THEN
        RAISE WARNING 'failing unreadable rows one by one: %', SQLERRM;
    END;
    FOREACH _id IN ARRAY _unreadable LOOP
        BEGIN
            PERFORM public.fail_these_unreadable(ARRAY[_id], NULL::text);
        EXCEPTION WHEN others THEN
            PERFORM public.set_aside(_id, SQLERRM);
        END;
    END LOOP;
END
$$;

-- fail_or_set_aside: a job that could not be taken, because of this error. It is failed where the
-- error is a value's own fault (data, a constraint, a limit).
CREATE OR REPLACE FUNCTION public.fail_or_set_aside(_id uuid, _sqlstate text, _message text)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    IF _sqlstate ~ '^(22|23|54)' THEN
        BEGIN
            PERFORM public.fail_these_unreadable(ARRAY[_id], coalesce(_message, _sqlstate));
            RETURN;
        EXCEPTION WHEN others THEN
            RAISE WARNING 'job % cannot be failed: %', _id, SQLERRM;
        END;
    END IF;
    PERFORM public.set_aside(_id, _message);
END
$$;

-- set_aside: nobody takes or rescues this job for a minute, whatever is the matter with it.
CREATE OR REPLACE FUNCTION public.set_aside(_id uuid, _why text)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    RAISE WARNING 'job % is set aside for a minute: %', _id, _why;
    UPDATE public.job_queue q
    SET due = false,
        retry_after = CASE WHEN q.leased THEN q.retry_after ELSE now() + interval '1 minute' END,
        lease_expires_at = CASE WHEN q.leased THEN now() + interval '1 minute' END
    WHERE q.id = _id;
END
$$;
