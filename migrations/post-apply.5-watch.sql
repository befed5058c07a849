-- Numbers about the queue, for people at psql, the checks, the API and Prometheus.
--
-- Unfinished jobs are counted in job_queue. Finished ones come from job_rollups, and from
-- analysis_jobs (by completed_at) only for the minutes that are not rolled up yet: a figure is exact
-- at every moment, and costs the same however many jobs have finished. Triggers give each job that
-- finishes its completed_at; those that ended without one before this schema came are not counted.

-- duration_bin: the histogram bin of a duration. Bin 0 ends at a millisecond, each next one 1.3
-- times later, the last holds the rest (15 days and more).
CREATE OR REPLACE FUNCTION public.duration_bin(_seconds double precision)
RETURNS integer
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT CASE
        WHEN _seconds IS NULL THEN NULL
        WHEN _seconds <= 0.001 THEN 0
        WHEN _seconds >= 1300000 THEN 80
        ELSE least(ceil(ln(_seconds * 1000) / ln(1.3::double precision))::integer, 80)
    END
$$;

-- bin_seconds: the duration that stands for a bin, at most 15 % off.
CREATE OR REPLACE FUNCTION public.bin_seconds(_bin integer)
RETURNS double precision
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT 0.001 * 1.3 ^ (_bin - 0.5)::double precision
$$;

-- merged_bins: the sum of histograms.
CREATE OR REPLACE FUNCTION public.merged_bins(_histograms jsonb[])
RETURNS jsonb
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT coalesce(jsonb_object_agg(m.bin, m.count), '{}')
    FROM (
        SELECT b.key AS bin, sum(b.value::bigint) AS count
        FROM unnest(_histograms) AS h (bins)
        CROSS JOIN LATERAL jsonb_each_text(h.bins) AS b
        GROUP BY b.key
    ) AS m
$$;

-- roll_up_jobs: counts what finished since the last call, about _limit jobs at most; whether more
-- is left. Idempotent: a minute is always counted as a whole. Any number of callers, one at a time.
CREATE OR REPLACE FUNCTION public.roll_up_jobs(_limit integer DEFAULT 20000)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
AS $$
DECLARE
    _epoch constant timestamptz := '2000-01-01 00:00:00+00';
    _since timestamptz;
    _settled timestamptz;
    _until timestamptz;
    _marked timestamptz[];
    _quarters timestamptz[];
BEGIN
    SELECT m.rolled_up_until INTO _since FROM public.schema_info m FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- A job finishes at the moment its transaction began, and shows when that commits: what began
    -- before the oldest open transaction is all there. One that somebody forgot is waited for half
    -- an hour.
    SELECT date_bin('1 minute', least(
        now() - interval '15 seconds',
        -- A client that writes the time itself may be a moment behind.
        greatest(
            coalesce(min(a.xact_start) - interval '5 seconds', now()), now() - interval '30 minutes'
        )
    ), _epoch)
    INTO _settled
    FROM pg_stat_activity a
    WHERE a.datname = current_database()
      AND a.backend_type = 'client backend'
      AND a.pid <> pg_backend_pid();
    -- The first time from the oldest job on; a row may claim to have finished in the future.
    _since := coalesce(_since, least(_settled, date_bin('1 minute', (
        SELECT min(j.completed_at) FROM public.analysis_jobs j WHERE j.completed_at > _epoch
    ), _epoch)));
    _until := greatest(_since, least(_settled, coalesce((
        SELECT date_bin('1 minute', j.completed_at, _epoch) + interval '1 minute'
        FROM public.analysis_jobs j
        WHERE j.completed_at >= _since
          AND j.completed_at < _settled
        ORDER BY j.completed_at
        OFFSET _limit
        LIMIT 1
    ), _settled)));

    WITH taken AS (
        DELETE FROM public.job_rollup_marks m
        WHERE m.minute < _until
        RETURNING m.minute
    )
    SELECT coalesce(array_agg(DISTINCT t.minute), '{}')
    INTO _marked
    FROM taken t
    WHERE t.minute < _since
      -- Of an older one the minutes around it, or some of its jobs, may be gone.
      AND t.minute > now() - interval '20 hours';

    DELETE FROM public.job_rollups r
    WHERE r.bucket_minutes = 1
      AND (r.bucket_at = ANY (_marked) OR (r.bucket_at >= _since AND r.bucket_at < _until));
    WITH spans AS (
        SELECT _since AS began, _until AS ended
        UNION ALL
        SELECT m, m + interval '1 minute' FROM unnest(_marked) AS m
    ),
    finished AS MATERIALIZED (
        SELECT
            date_bin('1 minute', j.completed_at, _epoch) AS bucket_at,
            j.job_type,
            j.status,
            j.retry_count,
            j.duration_seconds,
            CASE
                WHEN j.status <> 'cancelled' THEN public.duration_bin(j.duration_seconds)
            END AS run_bin,
            CASE
                WHEN j.retry_count = 0 AND j.crash_count = 0
                THEN public.duration_bin(extract(
                    epoch FROM public.readable_time(j.started_at) - public.readable_time(j.created_at)
                )::double precision)
            END AS wait_bin
        FROM spans s
        CROSS JOIN LATERAL (
            SELECT
                a.completed_at, a.status, a.retry_count, a.crash_count,
                public.measured_seconds(a.duration_seconds) AS duration_seconds,
                a.started_at, a.created_at, coalesce(left(a.job_type, 255), '') AS job_type
            FROM public.analysis_jobs a
            WHERE a.completed_at >= s.began
              AND a.completed_at < s.ended
            OFFSET 0
        ) AS j
    ),
    totals AS (
        SELECT
            f.bucket_at,
            f.job_type,
            count(*) FILTER (WHERE f.status = 'completed') AS completed,
            count(*) FILTER (WHERE f.status = 'failed') AS failed,
            count(*) FILTER (WHERE f.status = 'cancelled') AS cancelled,
            sum(f.retry_count) AS retried,
            count(f.duration_seconds) FILTER (WHERE f.status = 'completed') AS timed,
            coalesce(sum(f.duration_seconds) FILTER (WHERE f.status = 'completed'), 0) AS run_seconds
        FROM finished f
        GROUP BY f.bucket_at, f.job_type
    ),
    run_bins AS (
        SELECT b.bucket_at, b.job_type, jsonb_object_agg(b.run_bin, b.count) AS bins
        FROM (
            SELECT f.bucket_at, f.job_type, f.run_bin, count(*)
            FROM finished f
            WHERE f.run_bin IS NOT NULL
            GROUP BY f.bucket_at, f.job_type, f.run_bin
        ) AS b
        GROUP BY b.bucket_at, b.job_type
    ),
    wait_bins AS (
        SELECT b.bucket_at, b.job_type, jsonb_object_agg(b.wait_bin, b.count) AS bins
        FROM (
            SELECT f.bucket_at, f.job_type, f.wait_bin, count(*)
            FROM finished f
            WHERE f.wait_bin IS NOT NULL
            GROUP BY f.bucket_at, f.job_type, f.wait_bin
        ) AS b
        GROUP BY b.bucket_at, b.job_type
    )
    INSERT INTO public.job_rollups (
        bucket_minutes, bucket_at, job_type, completed, failed, cancelled, retried, timed,
        run_seconds, waits, runs
    )
    SELECT
        1, t.bucket_at, t.job_type, t.completed, t.failed, t.cancelled, t.retried, t.timed,
        t.run_seconds, coalesce(w.bins, '{}'), coalesce(r.bins, '{}')
    FROM totals t
    LEFT JOIN wait_bins w ON w.bucket_at = t.bucket_at AND w.job_type = t.job_type
    LEFT JOIN run_bins r ON r.bucket_at = t.bucket_at AND r.job_type = t.job_type;

    _quarters := ARRAY (
        SELECT DISTINCT date_bin('15 minutes', r.bucket_at, _epoch)
        FROM public.job_rollups r
        WHERE r.bucket_minutes = 1
          AND r.bucket_at >= _since
          AND r.bucket_at < _until
        UNION
        SELECT date_bin('15 minutes', m, _epoch) FROM unnest(_marked) AS m
    );
    DELETE FROM public.job_rollups r WHERE r.bucket_minutes = 15 AND r.bucket_at = ANY (_quarters);
    INSERT INTO public.job_rollups (
        bucket_minutes, bucket_at, job_type, completed, failed, cancelled, retried, timed,
        run_seconds, waits, runs
    )
    SELECT
        15, q, r.job_type, sum(r.completed), sum(r.failed), sum(r.cancelled), sum(r.retried),
        sum(r.timed), sum(r.run_seconds), public.merged_bins(array_agg(r.waits)),
        public.merged_bins(array_agg(r.runs))
    FROM unnest(_quarters) AS q
    JOIN public.job_rollups r
        ON r.bucket_minutes = 1
        AND r.bucket_at >= q
        AND r.bucket_at < q + interval '15 minutes'
    GROUP BY q, r.job_type;

    UPDATE public.schema_info SET rolled_up_until = _until;
    RETURN _until < _settled;
END
$$;

-- prune_rollups: deletes up to _limit rollups that nobody reads any more; how many. Those that
-- cannot be deleted are passed over, as prune_jobs does.
CREATE OR REPLACE FUNCTION public.prune_rollups(_limit integer)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _until constant timestamptz := clock_timestamp() + interval '5 seconds';
    _minutes_until timestamptz;
    _rows tid[];
    _names text[];
    _pruned integer := 0;
BEGIN
    DELETE FROM public.job_prune_holds h WHERE h.held_at <= now() - interval '1 day';
    SELECT least(now() - interval '3 days', m.rolled_up_until - interval '1 day')
    INTO _minutes_until
    FROM public.schema_info m;
    WHILE _pruned = 0 AND clock_timestamp() < _until LOOP
        SELECT array_agg(o.row), array_agg(o.name) INTO _rows, _names
        FROM (
            SELECT r.ctid AS row, n.name
            FROM public.job_rollups r
            CROSS JOIN LATERAL (
                SELECT concat_ws(' ', r.bucket_minutes, r.bucket_at, r.job_type) AS name
            ) AS n
            WHERE ((r.bucket_minutes = 1 AND r.bucket_at < _minutes_until)
                   OR (r.bucket_minutes = 15 AND r.bucket_at < now() - interval '400 days'))
              AND NOT EXISTS (
                  SELECT
                  FROM public.job_prune_holds h
                  WHERE h.table_name = 'job_rollups'
                    AND h.row_name = n.name
              )
            LIMIT _limit
            FOR UPDATE OF r SKIP LOCKED
        ) AS o;
        EXIT WHEN _rows IS NULL;
        _pruned := public.delete_or_hold('job_rollups', _rows, _names);
    END LOOP;
    RETURN _pruned;
END
$$;

-- finished_jobs: how many have finished since that moment, and how long the completed ones ran.
-- `timed` of them say how long. What is more than two days back is counted in analysis_jobs alone.
CREATE OR REPLACE FUNCTION public.finished_jobs(_from timestamptz)
RETURNS TABLE (
    completed bigint, failed bigint, cancelled bigint, timed bigint, run_seconds double precision
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    _epoch constant timestamptz := '2000-01-01 00:00:00+00';
    -- The first whole minute, and the end of the last one that is rolled up.
    _first timestamptz := date_bin(
        '1 minute', greatest(_from, now() - interval '2 days') + interval '59.999999 seconds', _epoch
    );
    _rolled timestamptz;
    _marked timestamptz[];
    -- The whole quarters of an hour between them: a fifteenth of the rows of their minutes.
    _quarters_from timestamptz := date_bin('15 minutes', _first + interval '14 minutes', _epoch);
    _quarters_to timestamptz;
BEGIN
    SELECT greatest(m.rolled_up_until, _first) INTO _rolled FROM public.schema_info m;
    _rolled := coalesce(_rolled, _first);
    _marked := ARRAY (
        SELECT DISTINCT m.minute
        FROM public.job_rollup_marks m
        WHERE m.minute >= _first
          AND m.minute < _rolled
    );
    _quarters_to := date_bin('15 minutes', _rolled, _epoch);
    IF _quarters_to < _quarters_from OR cardinality(_marked) > 0 THEN
        _quarters_from := _first;
        _quarters_to := _first;
    END IF;
    RETURN QUERY
    WITH spans AS (
        SELECT _from AS began, _first AS ended
        UNION ALL
        SELECT _rolled, 'infinity'
        UNION ALL
        SELECT m, m + interval '1 minute' FROM unnest(_marked) AS m
    ),
    counted AS (
        SELECT
            count(*) FILTER (WHERE j.status = 'completed') AS completed,
            count(*) FILTER (WHERE j.status = 'failed') AS failed,
            count(*) FILTER (WHERE j.status = 'cancelled') AS cancelled,
            count(j.duration_seconds) FILTER (WHERE j.status = 'completed') AS timed,
            sum(j.duration_seconds) FILTER (WHERE j.status = 'completed') AS run_seconds
        FROM spans s
        CROSS JOIN LATERAL (
            SELECT a.status, public.measured_seconds(a.duration_seconds) AS duration_seconds
            FROM public.analysis_jobs a
            WHERE a.completed_at >= s.began
              AND a.completed_at < s.ended
            OFFSET 0
        ) AS j
        UNION ALL
        SELECT
            sum(r.completed), sum(r.failed), sum(r.cancelled), sum(r.timed), sum(r.run_seconds)
        FROM (
            VALUES
                (1, _first, _quarters_from), (15, _quarters_from, _quarters_to),
                (1, _quarters_to, _rolled)
        ) AS s (minutes, began, ended)
        JOIN public.job_rollups r
            ON r.bucket_minutes = s.minutes
            AND r.bucket_at >= s.began
            AND r.bucket_at < s.ended
        WHERE r.bucket_at <> ALL (_marked)
    )
    SELECT
        coalesce(sum(c.completed), 0)::bigint,
        coalesce(sum(c.failed), 0)::bigint,
        coalesce(sum(c.cancelled), 0)::bigint,
        coalesce(sum(c.timed), 0)::bigint,
        coalesce(sum(c.run_seconds), 0)
    FROM counted c;
END
$$;

-- error_rate: 100 x failed / (failed + completed); 0 when there are none.
CREATE OR REPLACE FUNCTION public.error_rate(_failed bigint, _completed bigint)
RETURNS double precision
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(100 * _failed::double precision / nullif(_failed + _completed, 0), 0)
$$;

-- calculate_error_rate: the error_rate of the jobs that finished in the window.
CREATE OR REPLACE FUNCTION public.calculate_error_rate(time_window interval DEFAULT '1 hour')
RETURNS double precision
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    SELECT public.error_rate(f.failed, f.completed)
    FROM public.finished_jobs(now() - calculate_error_rate.time_window) f
$$;

-- detect_stuck_jobs: jobs that have been processing for longer than that many minutes.
CREATE OR REPLACE FUNCTION public.detect_stuck_jobs(threshold_minutes integer DEFAULT 30)
RETURNS TABLE (
    job_id uuid,
    started_at timestamptz,
    duration_minutes double precision,
    job_type text,
    user_id uuid
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
AS $$
    SELECT
        j.id,
        j.started_at,
        (extract(epoch FROM now() - j.started_at) / 60)::double precision,
        j.job_type,
        j.user_id
    FROM public.job_queue q
    CROSS JOIN LATERAL (
        SELECT
            a.id,
            left(a.job_type, 255) AS job_type,
            a.user_id,
            coalesce(
                public.readable_time(a.started_at),
                public.readable_time(a.claimed_at),
                public.readable_time(a.updated_at)
            ) AS started_at
        FROM public.analysis_jobs a
        WHERE a.id = q.id
          AND a.status = 'processing'
        OFFSET 0
    ) AS j
    WHERE q.leased
      AND j.started_at < now() - make_interval(mins => detect_stuck_jobs.threshold_minutes)
    ORDER BY j.started_at, j.id
$$;

-- queue_depths: unfinished jobs by queue, job type, priority and state (due, scheduled, processing).
CREATE OR REPLACE FUNCTION public.queue_depths()
RETURNS TABLE (
    queue text,
    job_type text,
    priority integer,
    state text,
    jobs bigint,
    oldest_due_at timestamptz
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    SELECT
        d.queue,
        d.job_type,
        d.kind / 4,
        (ARRAY['scheduled', 'due', 'processing'])[d.kind % 4 + 1],
        d.jobs,
        -- Whatever a row says of its age.
        CASE
            WHEN d.kind % 4 = 1 THEN least(greatest(d.oldest, '2000-01-01 00:00:00+00'), now())
        END
    FROM (
        SELECT
            q.queue,
            q.job_type,
            -- Priority and state in one number: each key less is a tenth of what this costs.
            q.priority * 4 + CASE
                WHEN q.leased THEN 2
                -- A claim makes a job due whose time has come.
                WHEN q.due OR q.retry_after <= now() THEN 1
                ELSE 0
            END AS kind,
            count(*) AS jobs,
            min(greatest(q.created_at, q.retry_after)) AS oldest
        FROM public.job_queue q
        GROUP BY 1, 2, 3
    ) AS d
$$;

-- undelivered_alerts: how many alerts have a channel that the last notice was given up for.
CREATE OR REPLACE FUNCTION public.undelivered_alerts()
RETURNS bigint
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    SELECT count(DISTINCT d.alert_id)
    FROM public.job_alert_deliveries d
    WHERE d.status = 'undelivered'
$$;

-- get_queue_metrics: the figures of the monitoring page as one object. "Today" began at midnight in
-- that zone; of dead letters at most 1000 are counted.
CREATE OR REPLACE FUNCTION public.get_queue_metrics(time_zone text DEFAULT 'UTC')
RETURNS jsonb
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    WITH depths AS MATERIALIZED (
        SELECT d.* FROM public.queue_depths() d
    ),
    today AS MATERIALIZED (
        SELECT f.*
        FROM public.finished_jobs(
            date_trunc('day', now() AT TIME ZONE get_queue_metrics.time_zone)
                AT TIME ZONE get_queue_metrics.time_zone
        ) f
    ),
    day AS MATERIALIZED (
        SELECT f.* FROM public.finished_jobs(now() - interval '24 hours') f
    ),
    hour AS MATERIALIZED (
        SELECT f.* FROM public.finished_jobs(now() - interval '1 hour') f
    ),
    recently AS MATERIALIZED (
        SELECT f.* FROM public.finished_jobs(now() - interval '5 minutes') f
    )
    SELECT jsonb_build_object(
        'total_pending',
        (SELECT coalesce(sum(d.jobs), 0) FROM depths d WHERE d.state <> 'processing'),
        'total_processing',
        (SELECT coalesce(sum(d.jobs), 0) FROM depths d WHERE d.state = 'processing'),
        'total_failed_today', (SELECT t.failed FROM today t),
        'total_completed_today', (SELECT t.completed FROM today t),
        'by_priority', (
            SELECT coalesce(jsonb_object_agg(p.priority, p.jobs), '{}')
            FROM (
                SELECT d.priority, sum(d.jobs) AS jobs
                FROM depths d
                WHERE d.state <> 'processing'
                GROUP BY d.priority
            ) AS p
        ),
        'avg_duration_seconds', (SELECT coalesce(d.run_seconds / nullif(d.timed, 0), 0) FROM day d),
        'error_rate_1h', (SELECT public.error_rate(h.failed, h.completed) FROM hour h),
        'error_rate_24h', (SELECT public.error_rate(d.failed, d.completed) FROM day d),
        'stuck_jobs', (
            SELECT count(*)
            FROM public.detect_stuck_jobs((extract(epoch FROM public.stuck_threshold()) / 60)::integer)
        ),
        'oldest_due_seconds',
        (SELECT extract(epoch FROM now() - min(d.oldest_due_at))::float8 FROM depths d),
        'due', (SELECT coalesce(sum(d.jobs), 0) FROM depths d WHERE d.state = 'due'),
        'scheduled', (SELECT coalesce(sum(d.jobs), 0) FROM depths d WHERE d.state = 'scheduled'),
        'dead_letters', (
            SELECT count(*)
            FROM (
                SELECT
                FROM public.analysis_jobs j
                WHERE j.failed_at IS NOT NULL
                  AND j.status = 'failed'
                ORDER BY j.failed_at DESC
                LIMIT 1000
            ) AS f
        ),
        'alerts_open', (SELECT count(*) FROM public.job_alerts a WHERE a.resolved_at IS NULL),
        'alerts_undelivered', public.undelivered_alerts(),
        'by_job_type', (
            SELECT coalesce(jsonb_object_agg(
                t.job_type, jsonb_build_object('pending', t.pending, 'processing', t.processing)
            ), '{}')
            FROM (
                SELECT
                    d.job_type,
                    coalesce(sum(d.jobs) FILTER (WHERE d.state <> 'processing'), 0) AS pending,
                    coalesce(sum(d.jobs) FILTER (WHERE d.state = 'processing'), 0) AS processing
                FROM depths d
                GROUP BY d.job_type
            ) AS t
        ),
        'by_queue', (
            SELECT coalesce(jsonb_object_agg(
                t.queue, jsonb_build_object('pending', t.pending, 'processing', t.processing)
            ), '{}')
            FROM (
                SELECT
                    d.queue,
                    coalesce(sum(d.jobs) FILTER (WHERE d.state <> 'processing'), 0) AS pending,
                    coalesce(sum(d.jobs) FILTER (WHERE d.state = 'processing'), 0) AS processing
                FROM depths d
                GROUP BY d.queue
            ) AS t
        ),
        'throughput_per_minute',
        (SELECT ((r.completed + r.failed) / 5.0)::float8 FROM recently r)
    )
$$;

-- job_trends: what finished, bucket by bucket and job type by job type, from the rollups alone.
-- Both are taken in steps of a quarter of an hour; buckets begin at multiples of _bucket, and the
-- last one may still fill.
CREATE OR REPLACE FUNCTION public.job_trends(_window interval, _bucket interval)
RETURNS TABLE (
    bucket_at timestamptz,
    job_type text,
    completed bigint,
    failed bigint,
    cancelled bigint,
    retried bigint,
    wait_p50 double precision,
    wait_p95 double precision,
    run_p50 double precision,
    run_p95 double precision
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
AS $$
    WITH rolled AS MATERIALIZED (
        SELECT
            -- One number for each bucket and job type: sorting what follows by both takes long.
            dense_rank() OVER (ORDER BY b.bucket_at, r.job_type) AS line,
            b.bucket_at,
            r.job_type,
            r.completed,
            r.failed,
            r.cancelled,
            r.retried,
            r.waits,
            r.runs
        FROM public.job_rollups r
        CROSS JOIN LATERAL (
            SELECT date_bin(_bucket, r.bucket_at, '2000-01-01 00:00:00+00') AS bucket_at
        ) AS b
        WHERE r.bucket_minutes = 15
          AND r.bucket_at >= date_bin(_bucket, now() - _window, '2000-01-01 00:00:00+00')
    ),
    totals AS (
        SELECT
            r.line,
            r.bucket_at,
            r.job_type,
            sum(r.completed)::bigint AS completed,
            sum(r.failed)::bigint AS failed,
            sum(r.cancelled)::bigint AS cancelled,
            sum(r.retried)::bigint AS retried
        FROM rolled r
        GROUP BY r.line, r.bucket_at, r.job_type
    ),
    -- Two histograms a line: waits, and runs after them.
    bins AS (
        SELECT
            2 * r.line + h.of_run AS histogram,
            b.key::integer AS bin,
            sum(b.value::double precision) AS jobs
        FROM rolled r
        CROSS JOIN LATERAL (VALUES (0, r.waits), (1, r.runs)) AS h (of_run, bins)
        CROSS JOIN LATERAL jsonb_each_text(h.bins) AS b
        GROUP BY 1, 2
    ),
    ranked AS (
        SELECT
            b.histogram,
            b.bin,
            sum(b.jobs) OVER (PARTITION BY b.histogram ORDER BY b.bin) AS up_to,
            sum(b.jobs) OVER (PARTITION BY b.histogram) AS jobs
        FROM bins b
    ),
    percentiles AS (
        SELECT
            r.histogram,
            min(r.bin) FILTER (WHERE r.up_to >= 0.5 * r.jobs) AS p50,
            min(r.bin) FILTER (WHERE r.up_to >= 0.95 * r.jobs) AS p95
        FROM ranked r
        GROUP BY r.histogram
    )
    SELECT
        t.bucket_at,
        t.job_type,
        t.completed,
        t.failed,
        t.cancelled,
        t.retried,
        public.bin_seconds(w.p50),
        public.bin_seconds(w.p95),
        public.bin_seconds(r.p50),
        public.bin_seconds(r.p95)
    FROM totals t
    LEFT JOIN percentiles w ON w.histogram = 2 * t.line
    LEFT JOIN percentiles r ON r.histogram = 2 * t.line + 1
    ORDER BY t.line
$$;
