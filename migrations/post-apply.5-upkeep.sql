-- Functions that every worker repeats for ever, and those that prune.

-- queue_jobs: makes the job_queue rows of these jobs say what analysis_jobs says. The caller holds
-- the wide rows. A lease that still belongs to the same fence is kept; any other processing job
-- has one of the stuck threshold, because nobody is known to renew it.
CREATE OR REPLACE FUNCTION public.queue_jobs(_ids uuid[])
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
AS $$
DECLARE
    _changed integer;
    _gone integer;
BEGIN
    DELETE FROM public.job_queue q
    WHERE q.id = ANY (_ids)
      AND NOT EXISTS (
          SELECT 1
          FROM public.analysis_jobs j
          WHERE j.id = ANY (_ids)
            AND j.id = q.id
            AND j.status IN ('pending', 'processing')
      );
    GET DIAGNOSTICS _gone = ROW_COUNT;
    INSERT INTO public.job_queue AS q (
        id, queue, job_type, priority, created_at, retry_after, due, leased, fence,
        lease_expires_at, deadline_at, last_chance
    )
    SELECT
        w.id, w.queue, w.job_type, w.priority, w.created_at,
        CASE WHEN NOT w.leased AND w.retry_after > now() THEN w.retry_after END,
        NOT w.leased AND (w.retry_after IS NULL OR w.retry_after <= now()),
        w.leased,
        w.fence,
        CASE WHEN w.leased THEN now() + public.stuck_threshold() END,
        NULL,
        w.last_chance
    FROM public.queue_rows(_ids) w
    ORDER BY w.id
    ON CONFLICT (id) DO UPDATE
    SET queue = EXCLUDED.queue,
        job_type = EXCLUDED.job_type,
        priority = EXCLUDED.priority,
        created_at = EXCLUDED.created_at,
        retry_after = EXCLUDED.retry_after,
        due = EXCLUDED.due,
        leased = EXCLUDED.leased,
        fence = EXCLUDED.fence,
        last_chance = EXCLUDED.last_chance,
        lease_expires_at =
            CASE
                WHEN q.leased AND EXCLUDED.leased AND q.fence = EXCLUDED.fence
                THEN q.lease_expires_at
                ELSE EXCLUDED.lease_expires_at
            END,
        expired = q.expired AND EXCLUDED.leased AND q.fence = EXCLUDED.fence,
        deadline_at =
            CASE
                WHEN q.leased AND EXCLUDED.leased AND q.fence = EXCLUDED.fence THEN q.deadline_at
            END;
    GET DIAGNOSTICS _changed = ROW_COUNT;
    RETURN _changed + _gone;
END
$$;

-- rescue_these_jobs: what rescue_jobs does with jobs whose rows it holds.
CREATE OR REPLACE FUNCTION public.rescue_these_jobs(_ids uuid[])
RETURNS TABLE (id uuid, job_type text, worker_id text, crash_count integer, settled text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    RETURN QUERY
    WITH settled AS (
        UPDATE public.analysis_jobs j
        SET status = d.status,
            crash_count = least(j.crash_count, 2147483646) + 1,
            worker_id = CASE WHEN d.status = 'failed' THEN j.worker_id END,
            claimed_at = CASE WHEN d.status = 'failed' THEN j.claimed_at END,
            retry_after = CASE
                -- 0 to 1 s after the first crash, 1 to 2 s after the second: the jobs of one dead
                -- worker do not come back in one burst, and all within the promised lease + 5 s.
                WHEN d.status = 'pending'
                    THEN now() + make_interval(secs => j.crash_count + random())
            END,
            completed_at = CASE WHEN d.status <> 'pending' THEN now() END,
            failed_at = CASE WHEN d.status = 'failed' THEN now() END,
            error_code = CASE WHEN d.status = 'failed' THEN 'CRASHED_WORKER' ELSE j.error_code END,
            error_message = CASE
                WHEN d.status = 'failed'
                    THEN 'its worker was lost ' || (j.crash_count::bigint + 1) || ' times while it ran'
                ELSE j.error_message
            END,
            estimated_completion = NULL,
            updated_at = now(),
            retry_error_log = public.with_error(j.retry_error_log, jsonb_build_object(
                'attempt', j.retry_count::bigint + 1,
                'timestamp', clock_timestamp(),
                'error_message', 'the worker stopped renewing its lease',
                'error_code', 'CRASHED_WORKER',
                'failure_kind', 'crash',
                'crash', j.crash_count::bigint + 1,
                'worker_id', left(j.worker_id, 255)
            ))
        FROM (
            SELECT
                a.id,
                left(a.worker_id, 255) AS worker_id,
                CASE
                    WHEN a.cancel_requested_at IS NOT NULL THEN 'cancelled'
                    WHEN a.crash_count >= 2 THEN 'failed'
                    ELSE 'pending'
                END AS status
            FROM public.analysis_jobs a
            WHERE a.id = ANY (_ids)
            ORDER BY a.id
        ) AS d
        WHERE j.id = ANY (_ids)
          AND j.id = d.id
        RETURNING j.id, left(j.job_type, 255) AS job_type, d.worker_id AS lost_worker, j.crash_count, j.status,
            j.retry_after
    ),
    waiting AS (
        UPDATE public.job_queue q
        SET due = false,
            leased = false,
            expired = false,
            lease_expires_at = NULL,
            deadline_at = NULL,
            retry_after = s.retry_after,
            last_chance = s.crash_count >= 2
        FROM settled s
        WHERE q.id = ANY (_ids)
          AND q.id = s.id
          AND s.status = 'pending'
    ),
    gone AS (
        DELETE FROM public.job_queue q
        WHERE q.id = ANY (ARRAY (SELECT s.id FROM settled s WHERE s.status <> 'pending'))
    )
    SELECT
        s.id, s.job_type, s.lost_worker, s.crash_count,
        CASE s.status WHEN 'pending' THEN 'rescued' ELSE s.status END
    FROM settled s;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
    PERFORM public.mirror_jobs_to_projects(_ids);
    -- The rows were pending or processing a moment ago: those that are failed now, failed here.
    PERFORM public.raise_failed_jobs(_ids);
END
$$;

-- rescue_jobs: processing under an expired lease -> pending (crash_count + 1, a short jittered
-- delay), or failed with CRASHED_WORKER after three crashes, or cancelled where that was asked for.
-- Idempotent, looks only at the job's own row, any number of callers at once. Rows that somebody
-- holds are left for the next round.
-- At the first sight of an expired lease its worker gets two more seconds. After an outage, or when
-- somebody's open transaction held the row, all that kept a live worker from renewing it is over
-- now, and whoever looks may be quicker than its heartbeat. A sight of ten seconds ago and more
-- counts as none: nobody could look meanwhile, so nobody could renew either.
CREATE OR REPLACE FUNCTION public.rescue_jobs(_limit integer)
RETURNS TABLE (id uuid, job_type text, worker_id text, crash_count integer, settled text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    _page uuid[];
    _last uuid := '00000000-0000-0000-0000-000000000000';
    _expired uuid[];
    _busy uuid[];
    _id uuid;
BEGIN
    IF coalesce(public.seconds_until_rescue() > 0, true) THEN
        RETURN;
    END IF;
    UPDATE public.job_queue q
    SET expired = true,
        lease_expires_at = now() + interval '2 seconds'
    WHERE q.id = ANY (ARRAY (
        SELECT i.id
        FROM public.job_queue i
        WHERE i.leased
          AND i.lease_expires_at < now()
          AND (NOT i.expired OR i.lease_expires_at < now() - interval '10 seconds')
        ORDER BY i.id
        LIMIT _limit
        FOR UPDATE SKIP LOCKED
    ));
    -- Page by page, so that a full page of rows that somebody holds does not hide the rest.
    LOOP
        _page := ARRAY (
            SELECT q.id
            FROM public.job_queue q
            WHERE q.leased
              AND q.expired
              AND q.lease_expires_at < now()
              AND q.id > _last
            ORDER BY q.id
            LIMIT _limit
        );
        IF cardinality(_page) = 0 THEN
            RETURN;
        END IF;
        _last := _page[cardinality(_page)];
        -- The wide rows first, as everywhere.
        _expired := ARRAY (
            SELECT a.id
            FROM public.analysis_jobs a
            WHERE a.id = ANY (_page)
              AND a.status = 'processing'
            FOR NO KEY UPDATE SKIP LOCKED
        );
        -- Looked at again: the lease may have been renewed, or the job settled and claimed by
        -- somebody else, since the page was read.
        _expired := ARRAY (
            SELECT q.id
            FROM public.job_queue q
            WHERE q.id = ANY (_expired)
              AND q.leased
              AND q.expired
              AND q.lease_expires_at < now()
            FOR UPDATE SKIP LOCKED
        );
        -- Jobs that end here change their project; one whose project somebody holds is left, so that
        -- no rescue ever waits.
        _busy := ARRAY (
            SELECT p.id
            FROM public.projects p
            WHERE p.id = ANY (ARRAY (
                SELECT a.project_id FROM public.analysis_jobs a WHERE a.id = ANY (_expired)
            ))
              AND p.id <> ALL (ARRAY (
                  SELECT l.id
                  FROM public.projects l
                  WHERE l.id = ANY (ARRAY (
                      SELECT a.project_id FROM public.analysis_jobs a WHERE a.id = ANY (_expired)
                  ))
                  FOR NO KEY UPDATE SKIP LOCKED
              ))
        );
        _expired := ARRAY (
            SELECT a.id
            FROM public.analysis_jobs a
            WHERE a.id = ANY (_expired)
              AND (a.project_id IS NULL
                   OR a.project_id <> ALL (_busy)
                   OR (a.cancel_requested_at IS NULL AND a.crash_count < 2))
        );
        EXIT WHEN cardinality(_expired) > 0;
    END LOOP;
    BEGIN
        RETURN QUERY SELECT * FROM public.rescue_these_jobs(_expired);
        RETURN;
    EXCEPTION WHEN others THEN
        RAISE WARNING 'rescuing job by job: %', SQLERRM;
    END;
    -- A row that cannot be written on, or that somebody's trigger guards, stops nobody else's rescue.
    FOREACH _id IN ARRAY _expired LOOP
        BEGIN
            RETURN QUERY SELECT * FROM public.rescue_these_jobs(ARRAY[_id]);
        EXCEPTION WHEN others THEN
            PERFORM public.fail_or_set_aside(_id, SQLSTATE, SQLERRM);
        END;
    END LOOP;
END
$$;

-- delete_or_hold: deletes these rows of a table of ours, which the caller has locked; how many.
-- Those that somebody else's foreign key, trigger or lock keeps are noted by name and left alone for
-- a day. They are found by halving, for five seconds at most: what is left then is the next step's.
CREATE OR REPLACE FUNCTION public.delete_or_hold(_table_name text, _rows tid[], _row_names text[])
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET lock_timeout = '200ms'
AS $$
DECLARE
    _until constant timestamptz := clock_timestamp() + interval '5 seconds';
    -- A hundred at a time, the first ones last: where a foreign key has no index each row reads all
    -- of its table.
    _firsts integer[] := ARRAY (
        SELECT f FROM generate_series(1, cardinality(_rows), 100) AS f ORDER BY f DESC
    );
    _lasts integer[] := ARRAY (
        SELECT least(f + 99, cardinality(_rows))
        FROM generate_series(1, cardinality(_rows), 100) AS f
        ORDER BY f DESC
    );
    _first integer;
    _last integer;
    _deleted integer := 0;
    _now_deleted integer;
BEGIN
    IF _table_name NOT IN ('analysis_jobs', 'job_alerts', 'job_rollups') THEN
        RAISE EXCEPTION 'nothing is pruned from %', _table_name USING ERRCODE = '22023';
    END IF;
    WHILE cardinality(_firsts) > 0 AND clock_timestamp() < _until LOOP
        _first := _firsts[cardinality(_firsts)];
        _last := _lasts[cardinality(_lasts)];
        _firsts := trim_array(_firsts, 1);
        _lasts := trim_array(_lasts, 1);
        BEGIN
            -- A deferred constraint would fail at the commit, and take the whole step with it.
            SET CONSTRAINTS ALL IMMEDIATE;
            EXECUTE format('DELETE FROM public.%I t WHERE t.ctid = ANY ($1)', _table_name)
            USING _rows[_first:_last];
            GET DIAGNOSTICS _now_deleted = ROW_COUNT;
            _deleted := _deleted + _now_deleted;
        EXCEPTION WHEN others THEN
            IF _first = _last THEN
                INSERT INTO public.job_prune_holds AS h (table_name, row_name, reason)
                VALUES (_table_name, _row_names[_first], left(SQLERRM, 500))
                ON CONFLICT (table_name, row_name) DO UPDATE
                SET reason = EXCLUDED.reason,
                    held_at = now();
            ELSE
                _firsts := _firsts || ARRAY[(_first + _last) / 2 + 1, _first];
                _lasts := _lasts || ARRAY[_last, (_first + _last) / 2];
            END IF;
        END;
    END LOOP;
    RETURN _deleted;
END
$$;

-- prune_jobs: deletes up to _limit finished jobs that ended longer ago than _older_than; their
-- rows and reports go with them. Jobs that cannot be deleted are passed over; 0 when no other is
-- left, or none was found in good time.
CREATE OR REPLACE FUNCTION public.prune_jobs(_older_than interval, _limit integer)
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
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    WHILE _pruned = 0 AND clock_timestamp() < _until LOOP
        SELECT array_agg(o.row), array_agg(o.id::text) INTO _rows, _names
        FROM (
            SELECT a.ctid AS row, a.id
            FROM public.analysis_jobs a
            WHERE a.completed_at < now() - _older_than
              AND a.status IN ('completed', 'failed', 'cancelled')
              AND NOT EXISTS (
                  SELECT
                  FROM public.job_prune_holds h
                  WHERE h.table_name = 'analysis_jobs'
                    AND h.row_name = a.id::text
              )
            ORDER BY a.completed_at
            LIMIT _limit
            FOR UPDATE SKIP LOCKED
        ) AS o;
        IF _rows IS NULL THEN
            -- Rows from before us, or written by others, may have ended without a completed_at, or
            -- at one that is yet to come.
            SELECT array_agg(o.row), array_agg(o.id::text) INTO _rows, _names
            FROM (
                SELECT a.ctid AS row, a.id
                FROM public.analysis_jobs a
                WHERE (a.completed_at IS NULL OR a.completed_at > now() + interval '1 day')
                  AND a.created_at < now() - _older_than
                  AND coalesce(
                      CASE WHEN a.failed_at <= now() + interval '1 day' THEN a.failed_at END,
                      CASE WHEN a.updated_at <= now() + interval '1 day' THEN a.updated_at END,
                      a.created_at
                  ) < now() - _older_than
                  AND a.status IN ('completed', 'failed', 'cancelled')
                  AND NOT EXISTS (
                      SELECT
                      FROM public.job_prune_holds h
                      WHERE h.table_name = 'analysis_jobs'
                        AND h.row_name = a.id::text
                  )
                LIMIT _limit
                FOR UPDATE SKIP LOCKED
            ) AS o;
        END IF;
        EXIT WHEN _rows IS NULL;
        _pruned := public.delete_or_hold('analysis_jobs', _rows, _names);
    END LOOP;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
    RETURN _pruned;
END
$$;

-- cleanup_old_analysis_jobs: prunes all finished jobs older than that many days; how many.
CREATE OR REPLACE FUNCTION public.cleanup_old_analysis_jobs(days_to_keep integer DEFAULT 30)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _all integer := 0;
    _pruned integer;
BEGIN
    IF cleanup_old_analysis_jobs.days_to_keep IS NULL OR cleanup_old_analysis_jobs.days_to_keep < 0 THEN
        RAISE EXCEPTION 'days_to_keep must be 0 or more' USING ERRCODE = '22023';
    END IF;
    LOOP
        _pruned := public.prune_jobs(make_interval(days => cleanup_old_analysis_jobs.days_to_keep), 1000);
        EXIT WHEN _pruned = 0;
        _all := _all + _pruned;
    END LOOP;
    RETURN _all;
END
$$;
