-- Functions that let jobs in. The batch form is the real one.

-- is_analysis: whether jobs of this type count as somebody's analysis.
CREATE OR REPLACE FUNCTION public.is_analysis(_job_type text)
RETURNS boolean
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT _job_type IN ('complete_analysis', 'invoice_extraction')
$$;

-- is_first_analysis: true when the user has no earlier analysis that waits, runs or completed.
-- Of callers at the same moment exactly one gets true: the advisory lock is tried, never waited for,
-- and whoever misses it is not the first. Each look is a statement of its own, so that it sees what
-- others committed meanwhile.
CREATE OR REPLACE FUNCTION public.is_first_analysis(_user_id uuid)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
AS $$
BEGIN
    IF _user_id IS NULL
        OR EXISTS (
            SELECT 1
            FROM public.analysis_jobs j
            WHERE j.user_id = _user_id
              AND public.is_analysis(j.job_type)
              AND j.status IN ('pending', 'processing', 'completed')
        )
    THEN
        RETURN false;
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('wastewise_first:' || _user_id, 0)) THEN
        RETURN false;
    END IF;
    -- Whoever had the lock before may have been the first. Those who missed it because of us, and were
    -- quicker to commit, were not.
    RETURN NOT EXISTS (
        SELECT 1
        FROM public.analysis_jobs j
        WHERE j.user_id = _user_id
          AND public.is_analysis(j.job_type)
          AND j.status IN ('pending', 'processing', 'completed')
          AND j.priority = 3
    );
END
$$;

-- default_job_priority: what a type's jobs get when nothing speaks for more or less.
CREATE OR REPLACE FUNCTION public.default_job_priority(_job_type text)
RETURNS integer
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    SELECT CASE
        WHEN public.is_analysis(_job_type) THEN 5
        WHEN _job_type = 'report_generation' THEN 7
        WHEN _job_type = 'cleanup' OR _job_type ~ '^batch([_.-]|$)' THEN 9
        ELSE coalesce((SELECT t.priority FROM public.job_types t WHERE t.job_type = _job_type), 5)
    END
$$;

-- job_priority_reason: why a job of this type has an assigned priority.
CREATE OR REPLACE FUNCTION public.job_priority_reason(_job_type text, _priority integer, _first boolean)
RETURNS text
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT CASE
        WHEN _first THEN 'first analysis of a first-time user'
        WHEN public.is_analysis(_job_type) THEN 'regular analysis'
        WHEN _job_type = 'report_generation' THEN 'report generation'
        WHEN _job_type = 'cleanup' OR _job_type ~ '^batch([_.-]|$)' THEN 'batch work'
        WHEN _priority = 5 THEN 'regular job'
        ELSE 'default of the job type'
    END
$$;

-- assign_job_priority: 3 for a first-time user's first analysis, 5 regular analysis and any other
-- type, 7 report generation, 9 batch work and cleanup; 5 gives way to a registered type's own.
CREATE OR REPLACE FUNCTION public.assign_job_priority(user_id uuid, job_type text)
RETURNS integer
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    SELECT CASE
        WHEN public.is_analysis(assign_job_priority.job_type)
            AND public.is_first_analysis(assign_job_priority.user_id) THEN 3
        ELSE public.default_job_priority(assign_job_priority.job_type)
    END
$$;

-- enqueue_jobs: nothing -> pending. One statement for any number of jobs.
-- Arrays are parallel; a NULL array stands for NULLs. What is NULL comes from the job type.
-- disposition: created | existing (same key, same request) | conflict (same key, another request);
-- for the last two, id and status are those of the job that used the key first.
-- _delays are seconds from now, by this server's clock, for jobs without a _run_at.
-- Raises what a constraint raises (the whole batch is refused): the caller repeats one by one.
CREATE OR REPLACE FUNCTION public.enqueue_jobs(
    _ids uuid[],
    _job_types text[],
    _inputs text[],
    _user_ids uuid[],
    _project_ids uuid[],
    _priorities integer[],
    _priority_reasons text[],
    _queues text[],
    _max_retries integer[],
    _timeouts double precision[],
    _run_at timestamptz[],
    _idempotency_keys text[],
    _idempotency_hashes bytea[],
    _delays double precision[] DEFAULT NULL
)
RETURNS TABLE (
    "position" integer,
    id uuid,
    status text,
    priority integer,
    priority_reason text,
    created_at timestamptz,
    disposition text
)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
-- A project that somebody holds, or a key that somebody is about to use, stops a batch no longer.
SET lock_timeout = '2s'
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    _firsts integer[] := '{}';
    _candidate record;
    _created integer;
BEGIN
    IF _user_ids IS NOT NULL THEN
        FOR _candidate IN
            SELECT g.user_id, min(g.n)::integer AS first_position
            FROM unnest(_user_ids, _job_types, _priorities)
                WITH ORDINALITY AS g (user_id, job_type, priority, n)
            WHERE g.user_id IS NOT NULL
              AND g.priority IS NULL
              AND public.is_analysis(g.job_type)
            GROUP BY g.user_id
            ORDER BY g.user_id
        LOOP
            IF public.is_first_analysis(_candidate.user_id) THEN
                _firsts := _firsts || _candidate.first_position;
            END IF;
        END LOOP;
    END IF;

    -- Once a name, not once a row.
    PERFORM public.check_job_names(n.job_type, n.queue)
    FROM (
        SELECT DISTINCT u.job_type, u.queue
        FROM unnest(_job_types, _queues) AS u (job_type, queue)
    ) AS n;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    RETURN QUERY
    WITH types AS MATERIALIZED (
        SELECT
            d.job_type,
            t.queue,
            t.max_retries,
            t.timeout_seconds,
            public.default_job_priority(d.job_type) AS priority
        FROM (SELECT DISTINCT u.job_type FROM unnest(_job_types) AS u (job_type)) AS d
        LEFT JOIN public.job_types t ON t.job_type = d.job_type
    ),
    given AS MATERIALIZED (
        SELECT
            g.*,
            coalesce(g.queue, t.queue, 'default') AS in_queue,
            coalesce(g.retries, t.max_retries, 3) AS retries_allowed,
            coalesce(g.timeout, t.timeout_seconds, 600) AS time_allowed,
            CASE
                WHEN g.asked_priority IS NOT NULL THEN g.asked_priority
                WHEN g.n = ANY (_firsts) THEN 3
                ELSE t.priority
            END AS given_priority,
            coalesce(g.run_at, now() + make_interval(secs => g.delay)) AS not_before
        FROM unnest(
            _ids, _job_types, _inputs, _user_ids, _project_ids, _priorities, _priority_reasons,
            _queues, _max_retries, _timeouts, _run_at, _idempotency_keys, _idempotency_hashes,
            _delays
        ) WITH ORDINALITY AS g (
            id, job_type, input, user_id, project_id, asked_priority, reason,
            queue, retries, timeout, run_at, idempotency_key, idempotency_hash,
            delay, n
        )
        JOIN types t ON t.job_type = g.job_type
    ),
    created AS (
        INSERT INTO public.analysis_jobs (
            id, user_id, project_id, job_type, status, input_data, priority, priority_reason,
            queue, max_retries, timeout_seconds, retry_after, idempotency_key, idempotency_hash
        )
        SELECT
            g.id, g.user_id, g.project_id, g.job_type, 'pending', g.input::jsonb, g.given_priority,
            coalesce(
                g.reason,
                CASE
                    WHEN g.asked_priority IS NOT NULL THEN 'asked for'
                    ELSE public.job_priority_reason(g.job_type, g.given_priority, g.n = ANY (_firsts))
                END
            ),
            g.in_queue, g.retries_allowed, g.time_allowed,
            CASE WHEN g.not_before > now() THEN g.not_before END,
            g.idempotency_key, g.idempotency_hash
        FROM given g
        ORDER BY g.n
        ON CONFLICT (
            (coalesce(user_id, '00000000-0000-0000-0000-000000000000'::uuid)), idempotency_key
        ) WHERE idempotency_key IS NOT NULL DO NOTHING
        RETURNING
            analysis_jobs.id, analysis_jobs.queue, analysis_jobs.job_type, analysis_jobs.priority,
            analysis_jobs.priority_reason, analysis_jobs.created_at, analysis_jobs.retry_after,
            analysis_jobs.fence
    ),
    queued AS (
        INSERT INTO public.job_queue (
            id, queue, job_type, priority, created_at, retry_after, due, fence
        )
        SELECT
            c.id, c.queue, c.job_type, c.priority, c.created_at, c.retry_after,
            c.retry_after IS NULL, c.fence
        FROM created c
    )
    SELECT
        g.n::integer, c.id, 'pending'::text, c.priority, c.priority_reason, c.created_at,
        'created'::text
    FROM created c
    JOIN given g ON g.id = c.id;

    GET DIAGNOSTICS _created = ROW_COUNT;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
    IF _created = cardinality(_ids) THEN
        RETURN;
    END IF;
    -- A statement of its own, so that it sees the job whose key was in the way.
    RETURN QUERY
    SELECT
        g.n::integer, j.id, j.status, j.priority, j.priority_reason, j.created_at,
        CASE WHEN j.idempotency_hash = g.idempotency_hash THEN 'existing' ELSE 'conflict' END
    FROM unnest(_ids, _user_ids, _idempotency_keys, _idempotency_hashes)
        WITH ORDINALITY AS g (id, user_id, idempotency_key, idempotency_hash, n)
    -- OFFSET 0: looked up key by key in the index, whatever the planner believes.
    CROSS JOIN LATERAL (
        SELECT
            f.id, f.status, f.priority, f.priority_reason, f.created_at, f.idempotency_hash
        FROM public.analysis_jobs f
        WHERE coalesce(f.user_id, '00000000-0000-0000-0000-000000000000'::uuid)
                = coalesce(g.user_id, '00000000-0000-0000-0000-000000000000'::uuid)
          AND f.idempotency_key = g.idempotency_key
        OFFSET 0
    ) AS j
    -- Not what was created above; but an id that is sent again, because the answer to it was lost,
    -- finds its own job.
    WHERE j.id <> g.id
       OR j.created_at <> now();
END
$$;
