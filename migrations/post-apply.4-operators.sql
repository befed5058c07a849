-- Functions for people and for callers outside our workers. They win: they wait for the row, and
-- a worker that held the job loses its lease.

-- cancel_job: pending -> cancelled; processing -> processing with the request recorded.
-- Returns cancelled | requested | finished, or null when there is no such job.
CREATE OR REPLACE FUNCTION public.cancel_job(_id uuid)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _status text;
    _answer text;
BEGIN
    SELECT j.status INTO _status
    FROM public.analysis_jobs j
    WHERE j.id = _id
    FOR NO KEY UPDATE;

    PERFORM public.bring_within_limits(ARRAY[_id]);
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    IF _status = 'pending' THEN
        UPDATE public.analysis_jobs
        SET status = 'cancelled',
            cancel_requested_at = now(),
            completed_at = now(),
            retry_after = NULL,
            updated_at = now()
        WHERE id = _id;
        DELETE FROM public.job_queue WHERE id = _id;
        PERFORM public.mirror_jobs_to_projects(ARRAY[_id]);
        _answer := 'cancelled';
    ELSIF _status = 'processing' THEN
        UPDATE public.analysis_jobs
        SET cancel_requested_at = coalesce(cancel_requested_at, now()),
            updated_at = now()
        WHERE id = _id;
        PERFORM pg_notify('wastewise_cancel', _id::text);
        _answer := 'requested';
    ELSIF _status IS NOT NULL THEN
        _answer := 'finished';
    END IF;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
    RETURN _answer;
END
$$;

-- requeue_job: failed -> pending, due at once, with all its retries; the error log stays.
-- Returns requeued | not_failed, or null when there is no such job.
CREATE OR REPLACE FUNCTION public.requeue_job(_id uuid)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _status text;
BEGIN
    SELECT j.status INTO _status
    FROM public.analysis_jobs j
    WHERE j.id = _id
    FOR NO KEY UPDATE;

    IF _status IS NULL THEN
        RETURN NULL;
    ELSIF _status <> 'failed' THEN
        RETURN 'not_failed';
    END IF;
    PERFORM public.bring_within_limits(ARRAY[_id]);
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    UPDATE public.analysis_jobs
    SET status = 'pending',
        retry_count = 0,
        crash_count = 0,
        retry_after = NULL,
        worker_id = NULL,
        claimed_at = NULL,
        started_at = NULL,
        completed_at = NULL,
        failed_at = NULL,
        duration_seconds = NULL,
        cancel_requested_at = NULL,
        error_message = NULL,
        error_code = NULL,
        error_details = NULL,
        progress_percent = 0,
        current_step = NULL,
        steps_completed = 0,
        updated_at = now()
    WHERE id = _id;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
    PERFORM public.queue_jobs(ARRAY[_id]);
    PERFORM public.note_requeued_jobs(ARRAY[_id]);
    PERFORM pg_notify('wastewise_wake', q.queue) FROM public.queue_rows(ARRAY[_id]) q;
    RETURN 'requeued';
END
$$;

-- schedule_job_retry: an unfinished or failed job -> pending, due after 1, 5, 15, then 30 minutes.
-- False, and nothing changed, when no retries are left, and for a job that is missing, completed
-- or cancelled.
CREATE OR REPLACE FUNCTION public.schedule_job_retry(job_id uuid, error_msg text, error_cd text DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _job public.analysis_jobs;
BEGIN
    SELECT j.* INTO _job
    FROM public.analysis_jobs j
    WHERE j.id = schedule_job_retry.job_id
    FOR NO KEY UPDATE;

    IF _job.id IS NULL
        OR _job.status NOT IN ('pending', 'processing', 'failed')
        OR _job.retry_count >= _job.max_retries
        OR (_job.cancel_requested_at IS NOT NULL AND _job.status = 'processing')
        -- Nobody could raise it.
        OR coalesce(public.unreadable_column(_job) = 'fence', false)
    THEN
        RETURN false;
    END IF;
    PERFORM public.bring_within_limits(ARRAY[_job.id]);
    -- Under a new fence the job is nobody's but ours, and the batch form settles it.
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, i.transition_key, true)
    FROM public.schema_info i;
    UPDATE public.analysis_jobs
    SET status = 'processing',
        fence = fence + 1,
        started_at = coalesce(started_at, now()),
        completed_at = NULL,
        failed_at = NULL,
        cancel_requested_at = NULL
    WHERE id = _job.id;
    PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);
    PERFORM public.queue_jobs(ARRAY[_job.id]);
    PERFORM public.retry_jobs(
        ARRAY[_job.id], ARRAY[_job.fence + 1], ARRAY[coalesce(schedule_job_retry.error_msg, '')],
        ARRAY[schedule_job_retry.error_cd], NULL::text[], ARRAY['operator'::text],
        NULL::double precision[]
    );
    IF _job.status = 'processing' THEN
        PERFORM pg_notify('wastewise_cancel', _job.id::text);
    ELSIF _job.status = 'failed' THEN
        PERFORM public.note_requeued_jobs(ARRAY[_job.id]);
    END IF;
    RETURN true;
END
$$;
