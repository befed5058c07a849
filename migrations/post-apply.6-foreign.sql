-- What a foreign writer may say: one to whom row level security applies, a user's browser with the
-- existing front end. Its rows are its own affair, within what these triggers let through; what only
-- the service may say, it cannot say. The owner, roles that bypass row level security and
-- service_role are operators, whose plain writes are followed as they are.

-- asking_user: who sent the request, where the server in front of the database says so (as Supabase
-- does); known is false where it says nothing that we can read, and policies alone decide.
CREATE OR REPLACE FUNCTION public.asking_user(OUT known boolean, OUT user_id uuid)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _claims text := nullif(current_setting('request.jwt.claims', true), '');
    _subject text := nullif(current_setting('request.jwt.claim.sub', true), '');
BEGIN
    _subject := coalesce(_subject, _claims::jsonb ->> 'sub');
    IF _subject ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
        user_id := _subject::uuid;
    END IF;
    known := CASE WHEN _subject IS NULL THEN _claims IS NOT NULL ELSE user_id IS NOT NULL END;
END
$$;

-- check_foreign_job: raises where a foreign writer's job reaches for what is not its own.
CREATE OR REPLACE FUNCTION public.check_foreign_job(_job_type text, _user_id uuid, _project_id uuid)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    -- cleanup too where no worker has registered it yet.
    IF _job_type = 'cleanup'
        OR EXISTS (SELECT 1 FROM public.job_types t WHERE t.job_type = _job_type AND t.admin_only)
    THEN
        RAISE EXCEPTION 'jobs of type % touch what belongs to everybody: admins may ask for them', _job_type
            USING ERRCODE = '42501';
    END IF;
    IF _project_id IS NOT NULL
        AND NOT EXISTS (
            SELECT 1 FROM public.projects p WHERE p.id = _project_id AND p.user_id = _user_id
        )
    THEN
        -- One that is missing is told like somebody else's.
        RAISE EXCEPTION 'the job''s user has no project %', _project_id USING ERRCODE = '42501';
    END IF;
END
$$;

-- A foreign INSERT is a wish: what it wishes for is kept, and the rest is as in any new job.
CREATE OR REPLACE FUNCTION public.admit_inserted_job()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _me record;
BEGIN
    SELECT a.known, a.user_id INTO _me FROM public.asking_user() a;
    IF _me.known THEN
        NEW.user_id := coalesce(NEW.user_id, _me.user_id);
        IF NEW.user_id IS DISTINCT FROM _me.user_id THEN
            RAISE EXCEPTION 'a job''s user_id must be your own' USING ERRCODE = '42501';
        END IF;
    END IF;
    PERFORM public.check_foreign_job(NEW.job_type, NEW.user_id, NEW.project_id);
    NEW.status := 'pending';
    -- A year, as for every delay.
    NEW.retry_after := CASE
        WHEN NEW.retry_after > now() THEN least(NEW.retry_after, now() + interval '365 days')
    END;
    NEW.priority_reason := CASE WHEN NEW.priority IS NOT NULL THEN 'asked for' END;
    NEW.foreign_writer := true;
    NEW.created_at := now();
    NEW.updated_at := now();
    NEW.queue := NULL;
    NEW.max_retries := NULL;
    NEW.timeout_seconds := NULL;
    NEW.idempotency_key := NULL;
    NEW.idempotency_hash := NULL;
    NEW.progress_percent := 0;
    NEW.current_step := NULL;
    NEW.total_steps := NULL;
    NEW.steps_completed := 0;
    NEW.started_at := NULL;
    NEW.completed_at := NULL;
    NEW.failed_at := NULL;
    NEW.claimed_at := NULL;
    NEW.worker_id := NULL;
    NEW.estimated_completion := NULL;
    NEW.cancel_requested_at := NULL;
    NEW.duration_seconds := NULL;
    NEW.result_data := NULL;
    NEW.error_message := NULL;
    NEW.error_code := NULL;
    NEW.error_details := NULL;
    NEW.retry_error_log := '[]';
    NEW.retry_count := 0;
    NEW.crash_count := 0;
    NEW.ai_requests := 0;
    NEW.ai_tokens_input := 0;
    NEW.ai_tokens_output := 0;
    NEW.ai_cost_usd := 0;
    RETURN NEW;
END
$$;

-- refused_changes: which columns of ours a foreign UPDATE changes to something else than what
-- follows from what it may. Their own columns are their own affair, and who last touched a row is
-- written by many a trigger.
CREATE OR REPLACE FUNCTION public.refused_changes(
    _old public.analysis_jobs,
    _sent public.analysis_jobs,
    _admitted public.analysis_jobs
)
RETURNS text
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    SELECT string_agg(s.key, ', ' ORDER BY s.key)
    FROM (SELECT to_jsonb(_old) AS old, to_jsonb(_admitted) AS admitted OFFSET 0) AS j
    CROSS JOIN LATERAL jsonb_each(to_jsonb(_sent)) AS s
    WHERE s.value IS DISTINCT FROM j.old -> s.key
      AND s.value IS DISTINCT FROM j.admitted -> s.key
      AND s.key IN (
          'id', 'user_id', 'project_id', 'job_type', 'status', 'progress_percent', 'current_step',
          'total_steps', 'steps_completed', 'started_at', 'completed_at', 'estimated_completion',
          'duration_seconds', 'input_data', 'result_data', 'error_message', 'error_code',
          'error_details', 'failed_at', 'retry_count', 'max_retries', 'ai_requests',
          'ai_tokens_input', 'ai_tokens_output', 'ai_cost_usd', 'created_at', 'retry_after',
          'retry_error_log', 'priority', 'priority_reason', 'worker_id', 'claimed_at', 'queue',
          'fence', 'crash_count', 'timeout_seconds', 'cancel_requested_at', 'idempotency_key',
          'idempotency_hash', 'foreign_writer')
$$;

-- requeued_job: a finished job as it goes round again, like requeue_job.
CREATE OR REPLACE FUNCTION public.requeued_job(_job public.analysis_jobs)
RETURNS public.analysis_jobs
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    _job.status := 'pending';
    _job.retry_count := 0;
    _job.crash_count := 0;
    _job.retry_after := NULL;
    _job.worker_id := NULL;
    _job.claimed_at := NULL;
    _job.started_at := NULL;
    _job.completed_at := NULL;
    _job.failed_at := NULL;
    _job.duration_seconds := NULL;
    _job.estimated_completion := NULL;
    _job.cancel_requested_at := NULL;
    _job.error_message := NULL;
    _job.error_code := NULL;
    _job.error_details := NULL;
    _job.progress_percent := 0;
    _job.current_step := NULL;
    _job.steps_completed := 0;
    RETURN _job;
END
$$;

-- A foreign UPDATE may cancel an unfinished job, send a failed or cancelled one round again, and say
-- how urgent a pending one is and what it is about.
CREATE OR REPLACE FUNCTION public.admit_updated_job()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _job public.analysis_jobs := OLD;
    _refused text;
BEGIN
    IF NEW.status = 'cancelled' AND OLD.status IN ('pending', 'processing') THEN
        _job.status := 'cancelled';
        _job.completed_at := now();
    ELSIF NEW.status = 'pending' AND OLD.status IN ('failed', 'cancelled') THEN
        _job := public.requeued_job(OLD);
    END IF;
    IF _job.status = 'pending' THEN
        _job.input_data := NEW.input_data;
        IF NEW.priority IS DISTINCT FROM OLD.priority THEN
            _job.priority := NEW.priority;
            _job.priority_reason := 'asked for';
        END IF;
        IF (_job.status, _job.input_data) IS DISTINCT FROM (OLD.status, OLD.input_data) THEN
            PERFORM public.check_foreign_job(OLD.job_type, OLD.user_id, OLD.project_id);
            _job.foreign_writer := true;
        END IF;
    END IF;
    _refused := public.refused_changes(OLD, NEW, _job);
    IF _refused IS NOT NULL THEN
        RAISE EXCEPTION '% of a job that is % cannot be changed to that', _refused, OLD.status
            USING
                ERRCODE = '42501',
                HINT = 'A job may be cancelled, or sent round again when it failed or was cancelled; '
                    'priority and input_data may change while it is pending.';
    END IF;
    -- Their own columns stay as they were sent.
    IF NEW.status = 'pending' AND OLD.status <> 'pending' THEN
        NEW := public.requeued_job(NEW);
    END IF;
    -- A JSON null is not told from NULL above.
    NEW.input_data := _job.input_data;
    NEW.result_data := _job.result_data;
    NEW.error_details := _job.error_details;
    NEW.retry_error_log := _job.retry_error_log;
    NEW.completed_at := _job.completed_at;
    NEW.priority_reason := _job.priority_reason;
    NEW.foreign_writer := _job.foreign_writer;
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

-- TRUNCATE knows no row level security.
CREATE OR REPLACE FUNCTION public.refuse_foreign_write()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION '% holds everybody''s rows', TG_TABLE_NAME USING ERRCODE = '42501';
    END IF;
    RAISE EXCEPTION 'the id, and whose it is, cannot be changed in %', TG_TABLE_NAME
        USING ERRCODE = '42501';
END
$$;

CREATE OR REPLACE TRIGGER wastewise_admit_inserted
BEFORE INSERT ON public.analysis_jobs
FOR EACH ROW
WHEN (row_security_active('public.analysis_jobs'::regclass) AND current_user <> 'service_role')
EXECUTE FUNCTION public.admit_inserted_job();

CREATE OR REPLACE TRIGGER wastewise_admit_updated
BEFORE UPDATE ON public.analysis_jobs
FOR EACH ROW
WHEN (row_security_active('public.analysis_jobs'::regclass) AND current_user <> 'service_role')
EXECUTE FUNCTION public.admit_updated_job();

CREATE OR REPLACE TRIGGER wastewise_admit_truncate
BEFORE TRUNCATE ON public.analysis_jobs
FOR EACH STATEMENT
WHEN (row_security_active('public.analysis_jobs'::regclass) AND current_user <> 'service_role')
EXECUTE FUNCTION public.refuse_foreign_write();

-- Jobs that foreign writers made before anybody knew what their type touches.
CREATE OR REPLACE FUNCTION public.refuse_foreign_jobs()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    UPDATE public.analysis_jobs j
    SET status = 'failed',
        error_code = 'FORBIDDEN',
        error_message = 'jobs of this type touch what belongs to everybody: admins may ask for them'
    WHERE j.id = ANY (ARRAY (SELECT q.id FROM public.job_queue q WHERE q.job_type = NEW.job_type))
      AND j.foreign_writer
      AND j.status = 'pending';
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER wastewise_refuse_inserted
AFTER INSERT ON public.job_types
FOR EACH ROW
WHEN (NEW.admin_only)
EXECUTE FUNCTION public.refuse_foreign_jobs();

CREATE OR REPLACE TRIGGER wastewise_refuse_updated
AFTER UPDATE ON public.job_types
FOR EACH ROW
WHEN (NEW.admin_only AND NOT OLD.admin_only)
EXECUTE FUNCTION public.refuse_foreign_jobs();
