-- Functions that record the outcome of a run. Every one is fenced: (id, fence) of a processing job,
-- or nothing is changed and the id is missing from the answer: the lease is lost.
-- Whether a cancellation was asked for is read under the lock of the row; what is left over for that
-- reason is then recorded as cancelled. A request that comes later finds the job pending or finished.
-- They lock in id order and give up after lock_timeout, before anybody's deadlock_timeout: a front
-- end that holds a row is never the victim, and the caller repeats job by job.

-- mirror_jobs_to_projects: an analysis that ended without a result says so on its project, if that
-- is its own user's.
-- The one place where a job's row is held while a project's is waited for. A plain DELETE of a
-- project goes the other way round, so the wait is short.
CREATE OR REPLACE FUNCTION public.mirror_jobs_to_projects(_ids uuid[])
RETURNS void
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
SET lock_timeout = '200ms'
AS $$
    WITH ended AS MATERIALIZED (
        SELECT a.project_id, a.user_id, a.status, a.error_message
        FROM public.analysis_jobs a
        WHERE a.id = ANY (_ids)
          AND a.job_type = 'complete_analysis'
          AND a.project_id IS NOT NULL
          AND a.status IN ('failed', 'cancelled')
    )
    UPDATE public.projects p
    SET status = j.status,
        error_message = CASE WHEN j.status = 'failed' THEN left(j.error_message, 2000) END,
        updated_at = now()
    FROM ended j
    WHERE p.id = ANY (ARRAY (SELECT e.project_id FROM ended e))
      AND p.id = j.project_id
      AND (j.user_id IS NULL OR j.user_id = p.user_id)
      AND p.status = 'processing'
$$;

-- sum_within: what a counter has reached; one that is full stays full.
CREATE OR REPLACE FUNCTION public.sum_within(_before bigint, _more bigint, _most bigint)
RETURNS bigint
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT CASE
        WHEN _more IS NULL THEN coalesce(_before, 0)
        WHEN coalesce(_before, 0) > _most - greatest(_more, 0) THEN _most
        WHEN coalesce(_before, 0) < -_most - least(_more, 0) THEN -_most
        ELSE coalesce(_before, 0) + _more
    END
$$;

-- complete_jobs: processing -> completed. A NULL array of results stores none.
CREATE OR REPLACE FUNCTION public.complete_jobs(
    _ids uuid[],
    _fences bigint[],
    _results text[],
    _ai_requests integer[] DEFAULT NULL,
    _ai_tokens_input bigint[] DEFAULT NULL,
    _ai_tokens_output bigint[] DEFAULT NULL,
    _ai_costs numeric[] DEFAULT NULL
)
RETURNS SETOF uuid
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
SET lock_timeout = '200ms'
AS $$
BEGIN
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    RETURN QUERY
    WITH won AS (
        UPDATE public.analysis_jobs j
        SET status = 'completed',
            progress_percent = 100,
            -- The last steps of a quick run are never written: what was is not where it ended.
            current_step = CASE WHEN j.current_step IS NOT NULL THEN 'Completed' END,
            steps_completed = coalesce(j.total_steps, j.steps_completed),
            result_data = g.result::jsonb,
            completed_at = now(),
            updated_at = now(),
            duration_seconds = public.seconds_since(j.started_at),
            estimated_completion = NULL,
            error_message = NULL,
            error_code = NULL,
            error_details = NULL,
            ai_requests = public.sum_within(j.ai_requests, g.ai_requests, 2147483647),
            ai_tokens_input =
                public.sum_within(j.ai_tokens_input, g.ai_tokens_input, 9223372036854775807),
            ai_tokens_output =
                public.sum_within(j.ai_tokens_output, g.ai_tokens_output, 9223372036854775807),
            ai_cost_usd = coalesce(j.ai_cost_usd, 0) + coalesce(g.ai_cost, 0)
        FROM (
            SELECT *
            FROM unnest(
                _ids, _fences, _results, _ai_requests, _ai_tokens_input, _ai_tokens_output, _ai_costs
            ) AS u (id, fence, result, ai_requests, ai_tokens_input, ai_tokens_output, ai_cost)
            ORDER BY u.id
        ) AS g
        WHERE j.id = ANY (_ids)
          AND j.id = g.id
          AND j.fence = g.fence
          AND j.status = 'processing'
        RETURNING j.id
    ),
    gone AS (
        DELETE FROM public.job_queue q
        WHERE q.id = ANY (ARRAY (SELECT w.id FROM won w))
    )
    SELECT w.id FROM won w;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
END
$$;

-- retry_delay: 1, 5, 15, then 30 minutes, each with up to a tenth more, so that jobs that failed
-- together do not come back together.
CREATE OR REPLACE FUNCTION public.retry_delay(_retry_count integer)
RETURNS interval
LANGUAGE sql
VOLATILE
AS $$
    SELECT make_interval(
        mins => (ARRAY[1, 5, 15, 30])[least(greatest(_retry_count, 0), 3) + 1]
    ) * (1 + random() * 0.1)
$$;

-- with_error: an error log with one more entry, a hundred at most; the oldest give way.
CREATE OR REPLACE FUNCTION public.with_error(_log jsonb, _entry jsonb)
RETURNS jsonb
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT CASE
        WHEN jsonb_typeof(_log) IS DISTINCT FROM 'array' THEN jsonb_build_array(_entry)
        WHEN jsonb_array_length(_log) >= 100
            THEN jsonb_path_query_array(_log, '$[last - 98 to last]') || _entry
        ELSE _log || _entry
    END
$$;

-- retry_jobs: processing -> pending, due after the schedule's delay or the longer _least_delays
-- (of which a year is taken at most: beyond is no time that anybody means, or that a clock can show).
-- settled: retried | exhausted (no retries left, nothing changed) | cancelled (it was asked for).
CREATE OR REPLACE FUNCTION public.retry_jobs(
    _ids uuid[],
    _fences bigint[],
    _messages text[],
    _codes text[],
    _details text[],
    _kinds text[],
    _least_delays double precision[]
)
RETURNS TABLE (id uuid, settled text, retry_after timestamptz)
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
#variable_conflict use_column
BEGIN
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    RETURN QUERY
    WITH given AS MATERIALIZED (
        SELECT
            u.*,
            clock_timestamp() AS failed_at
        FROM unnest(_ids, _fences, _messages, _codes, _details, _kinds, _least_delays)
            AS u (id, fence, message, code, details, kind, least_delay)
        ORDER BY u.id
    ),
    won AS (
        UPDATE public.analysis_jobs j
        SET status = 'pending',
            retry_count = j.retry_count + 1,
            worker_id = NULL,
            claimed_at = NULL,
            estimated_completion = NULL,
            updated_at = now(),
            error_message = g.message,
            error_code = g.code,
            error_details = g.details::jsonb,
            (retry_after, retry_error_log) = (
                SELECT
                    d.retry_after,
                    public.with_error(j.retry_error_log, jsonb_build_object(
                        'attempt', j.retry_count::bigint + 1,
                        'timestamp', g.failed_at,
                        'error_message', left(g.message, 2000),
                        'error_code', g.code,
                        'failure_kind', g.kind,
                        'details', g.details::jsonb,
                        'worker_id', left(j.worker_id, 255),
                        'retry_after', d.retry_after
                    ))
                FROM (
                    SELECT now() + greatest(
                        public.retry_delay(j.retry_count),
                        make_interval(secs => least(coalesce(g.least_delay, 0), 31536000))
                    ) AS retry_after
                    -- One roll of the dice for both.
                    OFFSET 0
                ) AS d
            )
        FROM given g
        WHERE j.id = ANY (_ids)
          AND j.id = g.id
          AND j.fence = g.fence
          AND j.status = 'processing'
          AND j.cancel_requested_at IS NULL
          AND j.retry_count < j.max_retries
        RETURNING j.id, j.retry_after
    ),
    waiting AS (
        UPDATE public.job_queue q
        SET due = false,
            leased = false,
            expired = false,
            lease_expires_at = NULL,
            deadline_at = NULL,
            retry_after = w.retry_after
        FROM won w
        WHERE q.id = ANY (_ids)
          AND q.id = w.id
    )
    SELECT w.id, 'retried'::text, w.retry_after FROM won w;
    RETURN QUERY
    SELECT c.c, 'cancelled'::text, NULL::timestamptz
    FROM public.cancel_running_jobs(_ids, _fences) AS c (c);
    RETURN QUERY
    SELECT a.id, 'exhausted'::text, NULL::timestamptz
    FROM unnest(_ids, _fences) AS g (id, fence)
    JOIN public.analysis_jobs a ON a.id = g.id
    WHERE a.id = ANY (_ids)
      AND a.fence = g.fence
      AND a.status = 'processing'
      AND a.retry_count >= a.max_retries;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
END
$$;

-- fail_jobs: processing -> failed (or cancelled, where that was asked for), and the alert of it.
CREATE OR REPLACE FUNCTION public.fail_jobs(
    _ids uuid[],
    _fences bigint[],
    _messages text[],
    _codes text[],
    _details text[],
    _kinds text[]
)
RETURNS SETOF uuid
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
    _failed uuid[];
BEGIN
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    WITH won AS (
        UPDATE public.analysis_jobs j
        SET status = 'failed',
            error_message = g.message,
            error_code = g.code,
            error_details = g.details::jsonb,
            failed_at = now(),
            completed_at = now(),
            updated_at = now(),
            duration_seconds = public.seconds_since(j.started_at),
            estimated_completion = NULL,
            retry_error_log = public.with_error(j.retry_error_log, jsonb_build_object(
                'attempt', j.retry_count::bigint + 1,
                'timestamp', clock_timestamp(),
                'error_message', left(g.message, 2000),
                'error_code', g.code,
                'failure_kind', g.kind,
                'details', g.details::jsonb,
                'worker_id', left(j.worker_id, 255)
            ))
        FROM (
            SELECT *
            FROM unnest(_ids, _fences, _messages, _codes, _details, _kinds)
                AS u (id, fence, message, code, details, kind)
            ORDER BY u.id
        ) AS g
        WHERE j.id = ANY (_ids)
          AND j.id = g.id
          AND j.fence = g.fence
          AND j.status = 'processing'
          AND j.cancel_requested_at IS NULL
        RETURNING j.id
    ),
    gone AS (
        DELETE FROM public.job_queue q
        WHERE q.id = ANY (ARRAY (SELECT w.id FROM won w))
    )
    SELECT coalesce(array_agg(w.id), '{}') INTO _failed FROM won w;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
    PERFORM public.mirror_jobs_to_projects(_failed);
    RETURN QUERY SELECT unnest(_failed);
    RETURN QUERY SELECT c.c FROM public.cancel_running_jobs(_ids, _fences) AS c (c);
    IF cardinality(_failed) > 0 THEN
        PERFORM public.raise_failed_jobs(_failed);
    END IF;
END
$$;

-- release_jobs: processing -> pending, due at once, no attempt charged (or cancelled, where that
-- was asked for).
CREATE OR REPLACE FUNCTION public.release_jobs(_ids uuid[], _fences bigint[])
RETURNS SETOF uuid
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
BEGIN
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    RETURN QUERY
    WITH won AS (
        UPDATE public.analysis_jobs j
        SET status = 'pending',
            worker_id = NULL,
            claimed_at = NULL,
            started_at = NULL,
            estimated_completion = NULL,
            progress_percent = 0,
            current_step = NULL,
            steps_completed = 0,
            updated_at = now()
        FROM (
            SELECT * FROM unnest(_ids, _fences) AS u (id, fence) ORDER BY u.id
        ) AS g
        WHERE j.id = ANY (_ids)
          AND j.id = g.id
          AND j.fence = g.fence
          AND j.status = 'processing'
          AND j.cancel_requested_at IS NULL
        RETURNING j.id
    ),
    waiting AS (
        UPDATE public.job_queue q
        SET due = true,
            leased = false,
            expired = false,
            lease_expires_at = NULL,
            deadline_at = NULL
        WHERE q.id = ANY (ARRAY (SELECT w.id FROM won w))
    )
    SELECT w.id FROM won w;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
    -- Whoever releases is on its way out: idle workers elsewhere take over at once.
    PERFORM pg_notify('wastewise_wake', q.queue)
    FROM (
        SELECT DISTINCT i.queue
        FROM public.job_queue i
        WHERE i.id = ANY (_ids)
    ) AS q;
    RETURN QUERY SELECT c.c FROM public.cancel_running_jobs(_ids, _fences) AS c (c);
END
$$;

-- cancel_running_jobs: processing -> cancelled, recorded by the worker that held the job, where
-- that was asked for.
CREATE OR REPLACE FUNCTION public.cancel_running_jobs(_ids uuid[], _fences bigint[])
RETURNS SETOF uuid
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
    _cancelled uuid[];
BEGIN
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    WITH won AS (
        UPDATE public.analysis_jobs j
        SET status = 'cancelled',
            completed_at = now(),
            updated_at = now(),
            duration_seconds = public.seconds_since(j.started_at),
            estimated_completion = NULL
        FROM (
            SELECT * FROM unnest(_ids, _fences) AS u (id, fence) ORDER BY u.id
        ) AS g
        WHERE j.id = ANY (_ids)
          AND j.id = g.id
          AND j.fence = g.fence
          AND j.status = 'processing'
          AND j.cancel_requested_at IS NOT NULL
        RETURNING j.id
    ),
    gone AS (
        DELETE FROM public.job_queue q
        WHERE q.id = ANY (ARRAY (SELECT w.id FROM won w))
    )
    SELECT coalesce(array_agg(w.id), '{}') INTO _cancelled FROM won w;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
    IF cardinality(_cancelled) > 0 THEN
        PERFORM public.mirror_jobs_to_projects(_cancelled);
    END IF;
    RETURN QUERY SELECT unnest(_cancelled);
END
$$;
