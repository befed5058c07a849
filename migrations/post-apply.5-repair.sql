-- What keeps job_queue true where no trigger does: after a partial restore, a promotion of a logical
-- replica, or writes made with triggers disabled.

-- queue_rows: what job_queue has to say of these jobs, by what analysis_jobs says. What a claim
-- would find unreadable enters within the limits of job_queue, and is failed when it is claimed.
CREATE OR REPLACE FUNCTION public.queue_rows(_ids uuid[])
RETURNS TABLE (
    id uuid,
    queue text,
    job_type text,
    priority integer,
    created_at timestamptz,
    retry_after timestamptz,
    leased boolean,
    fence bigint,
    last_chance boolean
)
LANGUAGE sql
STABLE
AS $$
    SELECT
        j.id,
        left(j.queue, 255),
        left(j.job_type, 255),
        least(greatest(j.priority, 1), 10),
        j.created_at,
        j.retry_after,
        j.status = 'processing',
        j.fence,
        j.crash_count >= 2
    FROM public.analysis_jobs j
    WHERE j.id = ANY (_ids)
      AND j.status IN ('pending', 'processing')
$$;

-- unfinished_jobs: all that may be astray. Reads both tables from end to end.
CREATE OR REPLACE FUNCTION public.unfinished_jobs()
RETURNS uuid[]
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    SELECT ARRAY (
        SELECT q.id FROM public.job_queue q
        UNION
        SELECT j.id FROM public.analysis_jobs j WHERE j.status IN ('pending', 'processing')
    )
$$;

-- astray_jobs: those of these jobs of which the two tables do not say the same. It is the one
-- judge: of repairs, of the periodic round, of doctor, of the tests.
CREATE OR REPLACE FUNCTION public.astray_jobs(_ids uuid[])
RETURNS SETOF uuid
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
    SELECT g.id
    FROM unnest(_ids) AS g (id)
    LEFT JOIN public.queue_rows(_ids) AS w ON w.id = g.id
    LEFT JOIN public.job_queue AS q ON q.id = ANY (_ids) AND q.id = g.id
    WHERE (w.id, w.queue, w.job_type, w.priority, w.created_at, w.leased, w.fence, w.last_chance)
          IS DISTINCT FROM
          (q.id, q.queue, q.job_type, q.priority, q.created_at, q.leased, q.fence, q.last_chance)
       OR (q.due AND w.retry_after > now())
       OR (NOT q.due AND NOT q.leased AND q.retry_after IS DISTINCT FROM w.retry_after)
$$;

-- repair_jobs: puts those of these jobs that are astray back in order; how many rows of job_queue
-- that changed. Safe beside running workers: what somebody is changing is left, and what is found
-- in order once it is held.
CREATE OR REPLACE FUNCTION public.repair_jobs(_ids uuid[])
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
SET lock_timeout = '200ms'
AS $$
DECLARE
    _astray uuid[] := ARRAY (SELECT public.astray_jobs(_ids));
    _held uuid[];
    _id uuid;
    _repaired integer;
BEGIN
    IF cardinality(_astray) = 0 THEN
        RETURN 0;
    END IF;
    DELETE FROM public.job_queue q
    WHERE q.id = ANY (ARRAY (
        SELECT i.id
        FROM public.job_queue i
        WHERE i.id = ANY (_astray)
          AND NOT EXISTS (
              SELECT FROM public.analysis_jobs j WHERE j.id = ANY (_astray) AND j.id = i.id
          )
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS _repaired = ROW_COUNT;
    _held := ARRAY (
        SELECT a.id
        FROM public.analysis_jobs a
        WHERE a.id = ANY (_astray)
        ORDER BY a.id
        FOR NO KEY UPDATE SKIP LOCKED
    );
    _held := ARRAY (SELECT public.astray_jobs(_held));
    BEGIN
        _repaired := _repaired + public.queue_jobs(_held);
    EXCEPTION WHEN others THEN
        RAISE WARNING 'repairing job by job: %', SQLERRM;
        FOREACH _id IN ARRAY _held LOOP
            BEGIN
                _repaired := _repaired + public.queue_jobs(ARRAY[_id]);
            EXCEPTION WHEN others THEN
                RAISE WARNING 'job % cannot be repaired: %', _id, SQLERRM;
            END;
        END LOOP;
    END;
    -- No claim would find those whose type or queue was cut.
    PERFORM public.fail_unreadable_jobs(_held);
    UPDATE public.schema_info SET jobs_repaired = jobs_repaired + _repaired WHERE _repaired > 0;
    RETURN _repaired;
END
$$;

-- repair_job_queue: repairs all that is astray; how many rows of job_queue that changed.
-- Idempotent.
CREATE OR REPLACE FUNCTION public.repair_job_queue()
RETURNS integer
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    SELECT public.repair_jobs(public.unfinished_jobs())
$$;

-- repair_a_step: the periodic round's share of that. Steps walk job_queue from end to end; the last
-- one of a round takes the jobs of the last hour too, and goes on through all others from where
-- the round before it ended. more: 1 while job_queue has not been walked.
-- schema_info keeps the places, and how many were found and could not be repaired.
CREATE OR REPLACE FUNCTION public.repair_a_step(
    _of_queue integer DEFAULT 20000, _of_jobs integer DEFAULT 5000
)
RETURNS TABLE (more integer, repaired integer, astray integer)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    _first constant uuid := '00000000-0000-0000-0000-000000000000';
    _of_queue_to uuid;
    _of_jobs_to uuid;
    _walked uuid[];
    _older uuid[];
    _ids uuid[];
BEGIN
    SELECT coalesce(s.queue_walked_to, _first), coalesce(s.jobs_walked_to, _first)
    INTO _of_queue_to, _of_jobs_to
    FROM public.schema_info s;
    _walked := ARRAY (
        SELECT q.id FROM public.job_queue q WHERE q.id >= _of_queue_to ORDER BY q.id LIMIT _of_queue
    );
    _ids := _walked;
    more := (cardinality(_walked) = _of_queue)::integer;
    IF more = 0 THEN
        _older := ARRAY (
            SELECT j.id
            FROM public.analysis_jobs j
            WHERE j.id >= _of_jobs_to
            ORDER BY j.id
            LIMIT _of_jobs
        );
        _ids := _ids || _older || ARRAY (
            SELECT j.id
            FROM public.analysis_jobs j
            WHERE j.created_at > now() - interval '1 hour'
              AND j.created_at < now() + interval '1 hour'
            ORDER BY j.created_at DESC
            LIMIT _of_queue
        );
        _of_jobs_to := CASE WHEN cardinality(_older) = _of_jobs THEN _older[_of_jobs] END;
    END IF;
    _ids := ARRAY (SELECT public.astray_jobs(ARRAY (SELECT DISTINCT i FROM unnest(_ids) AS i)));
    repaired := public.repair_jobs(_ids);
    astray := (SELECT count(*) FROM public.astray_jobs(_ids));
    UPDATE public.schema_info s
    SET jobs_astray = astray + CASE WHEN s.queue_walked_to IS NULL THEN 0 ELSE s.jobs_astray END,
        queue_walked_to = CASE WHEN more = 1 THEN _walked[_of_queue] END,
        jobs_walked_to = nullif(_of_jobs_to, _first);
    RETURN NEXT;
END
$$;
