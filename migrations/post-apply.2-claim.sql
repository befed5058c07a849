-- Functions that hand jobs to workers and keep them there.
--
-- Plans are held: a queue is empty whenever its statistics are taken, and a plan that was made for a
-- few rows reads all of a hundred thousand. So every statement here and in the settling functions
-- names the rows of a table by primary key (id = ANY (...)), which leaves an index scan in id order
-- as the only way in, and joins only what that scan found, by hash.
--
-- jit = off on every function: until PostgreSQL 17 a plan type that is switched off counts as
-- enormously dear, which makes a server with LLVM compile each statement for a tenth of a second.

-- stuck_threshold: the lease of a claim that nobody renews.
CREATE OR REPLACE FUNCTION public.stuck_threshold()
RETURNS interval
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    SELECT coalesce((SELECT s.stuck_threshold FROM public.schema_info s), interval '30 minutes')
$$;

-- promote_due_jobs: pending, waiting -> pending, due. At most _limit a priority, so that a burst
-- of jobs that come due together is taken in the order of its priorities.
-- Touches job_queue alone and never waits for a lock.
CREATE OR REPLACE FUNCTION public.promote_due_jobs(_limit integer)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    _promoted integer;
BEGIN
    -- By primary key alone: one more condition, and a planner that believes that few wait reads all
    -- that wait. The rows were locked and looked at below.
    UPDATE public.job_queue q
    SET due = true
    WHERE q.id = ANY (ARRAY (
        SELECT w.id
        FROM generate_series(1, 10) AS p (priority)
        CROSS JOIN LATERAL (
            SELECT i.id
            FROM public.job_queue i
            WHERE NOT i.due
              AND NOT i.leased
              AND i.priority = p.priority
              AND i.retry_after <= now()
            ORDER BY i.retry_after
            LIMIT _limit
            FOR UPDATE SKIP LOCKED
        ) AS w
    ));
    GET DIAGNOSTICS _promoted = ROW_COUNT;
    RETURN _promoted;
END
$$;

-- seconds_until_due: of the pending job that comes due next; null when none waits.
CREATE OR REPLACE FUNCTION public.seconds_until_due()
RETURNS double precision
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
AS $$
    SELECT extract(epoch FROM min(w.retry_after) - clock_timestamp())::double precision
    FROM generate_series(1, 10) AS p (priority)
    CROSS JOIN LATERAL (
        SELECT greatest(i.retry_after, '2000-01-01 00:00:00+00') AS retry_after
        FROM public.job_queue i
        WHERE NOT i.due
          AND NOT i.leased
          AND i.priority = p.priority
          -- What waits for ever never comes due.
          AND i.retry_after < 'infinity'
        ORDER BY i.retry_after
        LIMIT 1
    ) AS w
$$;

-- seconds_until_rescue: until the first lease expires that nobody renews meanwhile; null when no
-- job is processing.
CREATE OR REPLACE FUNCTION public.seconds_until_rescue()
RETURNS double precision
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
AS $$
    SELECT extract(epoch FROM min(q.lease_expires_at) - clock_timestamp())::double precision
    FROM public.job_queue q
    WHERE q.leased
      AND isfinite(q.lease_expires_at)
$$;

-- queued_kinds: the (queue, job_type) pairs that have due jobs, by hopping through the index from
-- one pair to the next: the cost grows with the pairs, not with the jobs. And a place just before the
-- first job of each, so that nobody has to read once more past those that are gone and not vacuumed.
CREATE OR REPLACE FUNCTION public.queued_kinds()
RETURNS TABLE (queue text, job_type text, priority integer, after timestamptz)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
AS $$
    WITH RECURSIVE kinds AS (
        (
            SELECT q.queue, q.job_type, q.priority, q.created_at
            FROM public.job_queue q
            WHERE q.due
            ORDER BY q.queue, q.job_type, q.priority, q.created_at, q.id
            LIMIT 1
        )
        UNION ALL
        SELECT n.queue, n.job_type, n.priority, n.created_at
        FROM kinds k
        CROSS JOIN LATERAL (
            SELECT q.queue, q.job_type, q.priority, q.created_at
            FROM public.job_queue q
            WHERE q.due
              AND (q.queue, q.job_type) > (k.queue, k.job_type)
            ORDER BY q.queue, q.job_type, q.priority, q.created_at, q.id
            LIMIT 1
        ) AS n
    )
    SELECT
        k.queue,
        k.job_type,
        k.priority,
        -- A row may claim to be older than a timestamp can be made.
        CASE
            WHEN k.created_at > '0001-01-01' THEN k.created_at - interval '1 microsecond'
            ELSE '-infinity'
        END
    FROM kinds k
$$;

-- is_trouble: whether an error says nothing about the row at hand: the transaction, a lock, the
-- connection or the server is in trouble, and whoever called has to hear of it.
CREATE OR REPLACE FUNCTION public.is_trouble(_sqlstate text)
RETURNS boolean
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT _sqlstate ~ '^(08|25|40|53|55|57|58)'
$$;

-- claim_jobs: pending -> processing, for up to _limit due jobs of these types in these queues (NULL
-- means all), most urgent first: priority, created_at, id. Two callers never get the same job.
-- Candidates are read from job_queue without a lock, then the wide rows are locked with SKIP
-- LOCKED: every writer takes the wide row first, so whoever holds it has the queue row too. What
-- was locked by somebody else is left, and the next page of candidates follows. A row that cannot be
-- read or written on is failed with UNREADABLE_ROW, and the others of its page are claimed.
-- Of the jobs on their last chance (two crashes) at most one is among them, and none unless
-- _last_chance: a worker never has two. So the process that such a job kills takes no other job into
-- quarantine with it.
CREATE OR REPLACE FUNCTION public.claim_jobs(
    _worker_id text,
    _queues text[],
    _job_types text[],
    _limit integer,
    _lease interval,
    _last_chance boolean DEFAULT true
)
RETURNS TABLE (
    id uuid,
    fence bigint,
    job_type text,
    queue text,
    user_id uuid,
    project_id uuid,
    input_data text,
    retry_count integer,
    max_retries integer,
    crash_count integer,
    timeout_seconds double precision,
    priority integer,
    created_at timestamptz,
    waited_seconds double precision
)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    _kind_queues text[];
    _kind_types text[];
    -- Where each kind's due jobs begin.
    _kind_priorities integer[];
    _kind_times timestamptz[];
    _until constant timestamptz := clock_timestamp() + interval '2 seconds';
    _wanted integer := _limit;
    _page uuid[];
    _on_last_chance uuid;
    _first integer;
    _at_once integer;
    _claimed uuid[];
    _rows integer;
    _last_priority integer := 0;
    _last_created_at timestamptz := '-infinity';
    _last_id uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    PERFORM public.promote_due_jobs(_limit);
    IF _queues IS NULL OR _job_types IS NULL THEN
        SELECT
            array_agg(k.queue), array_agg(k.job_type), array_agg(k.priority),
            array_agg(k.after)
        INTO _kind_queues, _kind_types, _kind_priorities, _kind_times
        FROM public.queued_kinds() k
        WHERE (_queues IS NULL OR k.queue = ANY (_queues))
          AND (_job_types IS NULL OR k.job_type = ANY (_job_types));
    ELSE
        SELECT
            array_agg(q.queue), array_agg(t.job_type), array_agg(0),
            array_agg('-infinity'::timestamptz)
        INTO _kind_queues, _kind_types, _kind_priorities, _kind_times
        FROM unnest(_queues) AS q (queue)
        CROSS JOIN unnest(_job_types) AS t (job_type);
    END IF;

    WHILE _wanted > 0 LOOP
        WITH page AS (
            SELECT c.id, c.priority, c.created_at, c.last_chance
            FROM (
                SELECT
                    u.queue,
                    u.job_type,
                    -- A page goes on where the last one ended.
                    greatest(u.priority, _last_priority) AS priority,
                    CASE
                        WHEN u.priority > _last_priority THEN u.after
                        WHEN u.priority < _last_priority THEN _last_created_at
                        ELSE greatest(u.after, _last_created_at)
                    END AS created_at,
                    CASE
                        WHEN (u.priority, u.after) > (_last_priority, _last_created_at)
                        THEN '00000000-0000-0000-0000-000000000000'
                        ELSE _last_id
                    END AS id
                FROM unnest(_kind_queues, _kind_types, _kind_priorities, _kind_times)
                    AS u (queue, job_type, priority, after)
            ) AS k
            CROSS JOIN LATERAL (
                SELECT q.id, q.priority, q.created_at, q.last_chance
                FROM public.job_queue q
                WHERE q.due
                  AND q.queue = k.queue
                  AND q.job_type = k.job_type
                  AND (q.priority, q.created_at, q.id) > (k.priority, k.created_at, k.id)
                  AND (_last_chance OR NOT q.last_chance)
                ORDER BY q.priority, q.created_at, q.id
                LIMIT _wanted
            ) AS c
            ORDER BY c.priority, c.created_at, c.id
            LIMIT _wanted
        ),
        final AS (
            SELECT p.priority, p.created_at, p.id
            FROM page p
            ORDER BY p.priority DESC, p.created_at DESC, p.id DESC
            LIMIT 1
        )
        SELECT
            (SELECT array_agg(p.id) FROM page p),
            (
                SELECT p.id
                FROM page p
                WHERE p.last_chance
                ORDER BY p.priority, p.created_at, p.id
                LIMIT 1
            ),
            f.priority, f.created_at, f.id
        INTO _page, _on_last_chance, _last_priority, _last_created_at, _last_id
        FROM final f;
        EXIT WHEN _page IS NULL;

        _rows := 0;
        _first := 1;
        _at_once := cardinality(_page);
        -- In one go, or job by job where one of them spoils that.
        WHILE _first <= cardinality(_page) LOOP
            BEGIN
                WITH claimed AS (
                    UPDATE public.analysis_jobs j
                    SET status = 'processing',
                        worker_id = _worker_id,
                        fence = j.fence + 1,
                        claimed_at = now(),
                        started_at = now(),
                        updated_at = now(),
                        retry_after = NULL,
                        progress_percent = 0,
                        current_step = NULL,
                        steps_completed = 0,
                        estimated_completion = NULL
                    WHERE j.id = ANY (ARRAY (
                        SELECT a.id
                        FROM public.analysis_jobs a
                        WHERE a.id = ANY (_page[_first : _first + _at_once - 1])
                          AND a.status = 'pending'
                          AND (a.retry_after IS NULL OR a.retry_after <= now())
                          AND (a.crash_count < 2 OR a.id = _on_last_chance)
                          AND public.unreadable_column(a) IS NULL
                        FOR NO KEY UPDATE SKIP LOCKED
                    ))
                      AND j.status = 'pending'
                    RETURNING j.id, j.fence, j.timeout_seconds
                ),
                leased AS (
                    UPDATE public.job_queue q
                    SET due = false,
                        leased = true,
                        fence = c.fence,
                        retry_after = NULL,
                        lease_expires_at = now() + _lease,
                        deadline_at = now() + _lease + make_interval(secs => c.timeout_seconds)
                    FROM claimed c
                    WHERE q.id = ANY (_page)
                      AND q.id = c.id
                )
                SELECT array_agg(c.id) INTO _claimed FROM claimed c;
                _first := _first + _at_once;
            EXCEPTION WHEN others THEN
                IF public.is_trouble(SQLSTATE) THEN
                    RAISE;
                END IF;
                IF _at_once = 1 THEN
                    PERFORM public.fail_or_set_aside(_page[_first], SQLSTATE, SQLERRM);
                    _first := _first + 1;
                END IF;
                _at_once := 1;
                PERFORM set_config(
                    'wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true
                )
                FROM public.schema_info i;
                CONTINUE;
            END;
            CONTINUE WHEN _claimed IS NULL;
            -- Apart: what was returned is not taken back with what failed.
            RETURN QUERY
            SELECT
                c.id, c.fence, c.job_type, c.queue, c.user_id, c.project_id,
                coalesce(c.input_data, '{}')::text,
                c.retry_count, c.max_retries, c.crash_count, c.timeout_seconds, c.priority,
                c.created_at,
                extract(epoch FROM clock_timestamp() - c.created_at)::double precision
            FROM public.analysis_jobs c
            WHERE c.id = ANY (_claimed)
            ORDER BY c.priority, c.created_at, c.id;
            _rows := _rows + cardinality(_claimed);
        END LOOP;
        IF _rows < cardinality(_page) THEN
            -- Somebody holds the rest, or nobody can read it.
            PERFORM public.fail_unreadable_jobs(_page);
            PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
            FROM public.schema_info i;
            -- However many of them there are: what is failed so far has to be committed.
            EXIT WHEN clock_timestamp() > _until;
        END IF;
        EXIT WHEN cardinality(_page) < _wanted;
        _last_chance := _last_chance AND _on_last_chance IS NULL;
        _wanted := _wanted - _rows;
    END LOOP;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
END
$$;

-- get_next_job: pending -> processing for one caller at psql or over RPC; null when nothing is due.
-- The caller cannot renew a lease, so it gets one of the stuck threshold.
CREATE OR REPLACE FUNCTION public.get_next_job(worker_identifier text)
RETURNS uuid
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    PERFORM public.note_external_worker(get_next_job.worker_identifier);
    RETURN (
        SELECT c.id
        FROM public.claim_jobs(
            get_next_job.worker_identifier, NULL::text[], NULL::text[], 1, public.stuck_threshold(), true
        ) c
    );
END
$$;

-- heartbeat_jobs: processing -> processing, with a lease from now on. Returns only what the worker
-- must hear of: leases that it lost (not held), jobs whose cancellation was requested, and leases
-- that are held (so far) but were not renewed (no cancellation requested).
-- SKIP LOCKED: a row that is being settled needs no renewal, and a beat that waits for a lock
-- while it holds others could deadlock with the settling statement. A row that somebody else's
-- open transaction holds cannot be rescued either; the worker tries again soon. Past its deadline
-- a lease is not renewed, and that is not told: a worker that hangs loses the job to a rescue.
CREATE OR REPLACE FUNCTION public.heartbeat_jobs(_ids uuid[], _fences bigint[], _lease interval)
RETURNS TABLE (id uuid, held boolean, cancel_requested boolean)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    UPDATE public.job_queue q
    SET lease_expires_at = now() + _lease,
        expired = false
    WHERE q.id = ANY (ARRAY (
        SELECT i.id
        FROM unnest(_ids, _fences) AS g (id, fence)
        JOIN public.job_queue i ON i.id = g.id
        WHERE i.id = ANY (_ids)
          AND i.fence = g.fence
          AND i.leased
          AND (i.deadline_at IS NULL OR now() < i.deadline_at)
        FOR UPDATE OF i SKIP LOCKED
    ));
    RETURN QUERY
    SELECT g.id, i.id IS NOT NULL, j.cancel_requested_at IS NOT NULL
    FROM unnest(_ids, _fences) AS g (id, fence)
    LEFT JOIN public.job_queue i
        ON i.id = ANY (_ids) AND i.id = g.id AND i.fence = g.fence AND i.leased
    LEFT JOIN public.analysis_jobs j
        ON j.id = ANY (_ids) AND j.id = i.id AND j.fence = g.fence
    WHERE i.id IS NULL
       OR j.cancel_requested_at IS NOT NULL
       OR (i.lease_expires_at <> now() + _lease
           AND (i.deadline_at IS NULL OR now() < i.deadline_at));
END
$$;

-- progress_jobs: processing -> processing. Returns the ids whose lease is still held.
-- A NULL step or count leaves what was there.
CREATE OR REPLACE FUNCTION public.progress_jobs(
    _ids uuid[],
    _fences bigint[],
    _percents integer[],
    _steps text[],
    _steps_completed integer[],
    _total_steps integer[]
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
BEGIN
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    RETURN QUERY
    UPDATE public.analysis_jobs j
    SET progress_percent = least(greatest(g.percent, 0), 100),
        current_step = coalesce(g.step, j.current_step),
        steps_completed = coalesce(g.steps_completed, j.steps_completed),
        total_steps = coalesce(g.total_steps, j.total_steps),
        estimated_completion = CASE
            -- Of a run that began years ago, or is yet to begin, nobody can tell.
            WHEN g.percent BETWEEN 1 AND 99
                AND j.started_at BETWEEN now() - interval '1 year' AND now() + interval '1 day' THEN
                now() + (now() - j.started_at) * ((100 - g.percent)::double precision / g.percent)
        END,
        updated_at = now()
    FROM (
        SELECT *
        FROM unnest(_ids, _fences, _percents, _steps, _steps_completed, _total_steps)
            AS u (id, fence, percent, step, steps_completed, total_steps)
        ORDER BY u.id
    ) AS g
    WHERE j.id = ANY (_ids)
      AND j.id = g.id
      AND j.fence = g.fence
      AND j.status = 'processing'
    RETURNING j.id;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
END
$$;
