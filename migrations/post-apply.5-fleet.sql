-- Who works, and what nobody does.

-- note_external_worker: that this caller of get_next_job is there. It claims whatever is due.
-- Writes once in ten seconds and waits for nobody: a caller may keep its transaction open for as
-- long as its job takes.
CREATE OR REPLACE FUNCTION public.note_external_worker(_worker_id text)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    -- Names are indexed, and come from anybody.
    _name constant text := left(_worker_id, 255);
BEGIN
    IF _name IS NULL
        OR EXISTS (
            SELECT
            FROM public.job_workers w
            WHERE w.worker_id = _name
              AND w.last_heartbeat_at > clock_timestamp() - interval '10 seconds'
        )
        OR NOT pg_try_advisory_xact_lock(hashtextextended('external worker ' || _name, 0))
    THEN
        RETURN;
    END IF;
    INSERT INTO public.job_workers AS w (
        worker_id, name, host, pid, version, queues, concurrency, kind, last_heartbeat_at
    )
    VALUES (_name, _name, '', 0, '', '{*}', 1, 'external', clock_timestamp())
    ON CONFLICT (worker_id) DO UPDATE
    SET last_heartbeat_at = clock_timestamp()
    WHERE w.kind = 'external';
END
$$;

-- due_kinds: the (queue, job_type) pairs that have due jobs, and about how long the first of each
-- has been. By hopping through indexes: the cost grows with the pairs, not with the jobs. Those
-- that waited for their time and that no claim has made due yet are looked at up to a hundred a
-- priority.
CREATE OR REPLACE FUNCTION public.due_kinds()
RETURNS TABLE (queue text, job_type text, due_since timestamptz, job_id uuid)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
AS $$
    SELECT DISTINCT ON (f.queue, f.job_type) f.queue, f.job_type, f.due_since, f.id
    FROM (
        SELECT
            k.queue,
            k.job_type,
            -- A row may claim to be older than a timestamp can be.
            greatest(d.created_at, d.retry_after, '2000-01-01 00:00:00+00') AS due_since,
            d.id
        FROM public.queued_kinds() k
        CROSS JOIN generate_series(1, 10) AS p (priority)
        CROSS JOIN LATERAL (
            SELECT q.created_at, q.retry_after, q.id
            FROM public.job_queue q
            WHERE q.due
              AND q.queue = k.queue
              AND q.job_type = k.job_type
              AND q.priority = p.priority
            ORDER BY q.created_at, q.id
            LIMIT 1
        ) AS d
        UNION ALL
        SELECT
            w.queue,
            w.job_type,
            greatest(w.created_at, w.retry_after, '2000-01-01 00:00:00+00'),
            w.id
        FROM generate_series(1, 10) AS p (priority)
        CROSS JOIN LATERAL (
            SELECT q.queue, q.job_type, q.created_at, q.retry_after, q.id
            FROM public.job_queue q
            WHERE NOT q.due
              AND NOT q.leased
              AND q.priority = p.priority
              AND q.retry_after <= now()
            ORDER BY q.retry_after
            LIMIT 100
        ) AS w
    ) AS f
    ORDER BY f.queue, f.job_type, f.due_since, f.id
$$;

-- unserved_kinds: work that nobody can do: kinds whose first job has been due for _due_for while
-- no worker that was heard of within _silent_after carries the type in that queue. `says` is how
-- everybody words it.
CREATE OR REPLACE FUNCTION public.unserved_kinds(
    _silent_after interval DEFAULT '5 minutes',
    _due_for interval DEFAULT NULL
)
RETURNS TABLE (queue text, job_type text, due_since timestamptz, job_id uuid, says text)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    WITH alive AS MATERIALIZED (
        SELECT w.queues, w.job_types
        FROM public.job_workers w
        WHERE w.last_heartbeat_at > now() - _silent_after
    )
    SELECT
        d.queue,
        d.job_type,
        d.due_since,
        d.job_id,
        CASE
            WHEN EXISTS (SELECT FROM alive a WHERE a.job_types && ARRAY['*', d.job_type])
            THEN format(
                'no live worker serves queue %s for %s', left(d.queue, 100), left(d.job_type, 100)
            )
            ELSE format(
                'no live worker carries %s (queue %s)', left(d.job_type, 100), left(d.queue, 100)
            )
        END
    FROM public.due_kinds() d
    WHERE d.due_since <= now() - coalesce(_due_for, public.stuck_threshold())
      AND NOT EXISTS (
          SELECT
          FROM alive a
          WHERE a.job_types && ARRAY['*', d.job_type]
            AND a.queues && ARRAY['*', d.queue]
      )
    ORDER BY d.due_since, d.queue, d.job_type
$$;
