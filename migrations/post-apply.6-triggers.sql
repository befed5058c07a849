-- What keeps job_queue true when somebody else writes analysis_jobs: the existing front end, a
-- person at psql, a cascade. Our own functions keep it themselves, and say so: while they write, the
-- setting wastewise.transition_0 has a value. Each depth of triggers has its own setting: what
-- somebody's trigger writes while a row of ours changes is no write of ours.
-- It is a setting, because every row's trigger reads it. But anybody may set one, so the value is a
-- secret that only the owner of schema_info can read, and each statement proves it before its first
-- row: by its hash, which stands where anybody can read it.
-- pg_trigger_depth()::text: to concatenate the number itself is an SQL function, which every
-- statement would plan anew in every trigger's condition.

-- check_job_names: raises where a job type or queue has no proper name. It stands for two CHECK
-- constraints and speaks in their names: PostgreSQL would evaluate those at every UPDATE.
CREATE OR REPLACE FUNCTION public.check_job_names(_job_type text, _queue text)
RETURNS void
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _name constant text := '^[a-z][a-z0-9_.-]{0,62}$';
    _column text := CASE WHEN _job_type !~ _name THEN 'job_type' ELSE 'queue' END;
BEGIN
    IF _job_type !~ _name OR _queue !~ _name THEN
        RAISE EXCEPTION
            '% must be a lower-case letter and up to 62 more of a-z, 0-9, "_", "." and "-"', _column
            USING
                ERRCODE = '23514',
                TABLE = 'analysis_jobs',
                COLUMN = _column,
                CONSTRAINT = 'analysis_jobs_' || _column || '_check';
    END IF;
END
$$;

-- check_job_json: JSON that is small as it is stored and enormous as text ({"a": 1e100000}, ten
-- thousand times) would end every claim and list that meets it: such a row is refused. Our own
-- writes come checked.
CREATE OR REPLACE FUNCTION public.check_job_json(_job public.analysis_jobs)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    IF octet_length(_job.input_data::text) > 1048576
        OR octet_length(_job.error_details::text) > 1048576
        OR octet_length(_job.retry_error_log::text) > 1048576
        OR octet_length(_job.result_data::text) > 16777216
    THEN
        RAISE EXCEPTION
            'input_data, error_details and retry_error_log may be 1 MiB as text, result_data 16 MiB'
            USING ERRCODE = '54000';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION public.check_updated_job()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    PERFORM public.check_job_names(NEW.job_type, NEW.queue);
    PERFORM public.check_job_json(NEW);
    RETURN NEW;
END
$$;

-- keep_written_job: a plain INSERT gets what its job type says where it says nothing itself, or says
-- NULL as an existing front end may. A plain UPDATE of the status is an operator's act: it wins over
-- whoever holds a lease. Nobody else says what a fence is: a lower one would give a lease that was
-- lost its worth back, the highest one would end all claims. The rest is brought within bounds.
CREATE OR REPLACE FUNCTION public.keep_written_job()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _nil constant uuid := '00000000-0000-0000-0000-000000000000';
    _type public.job_types;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT t.* INTO _type FROM public.job_types t WHERE t.job_type = NEW.job_type;
        -- Pages of ids begin behind it.
        NEW.id := coalesce(nullif(NEW.id, _nil), gen_random_uuid());
        NEW.fence := 0;
        NEW.queue := coalesce(NEW.queue, _type.queue, 'default');
        NEW.timeout_seconds := coalesce(NEW.timeout_seconds, _type.timeout_seconds, 600);
        NEW.priority := coalesce(NEW.priority, public.default_job_priority(NEW.job_type));
        NEW.max_retries := coalesce(NEW.max_retries, _type.max_retries, 3);
        NEW.retry_error_log := coalesce(NEW.retry_error_log, '[]');
        NEW.input_data := coalesce(NEW.input_data, '{}');
        NEW.created_at := coalesce(NEW.created_at, now());
        NEW.updated_at := coalesce(NEW.updated_at, now());
        NEW.foreign_writer := coalesce(NEW.foreign_writer, false);
        IF NEW.status IN ('completed', 'failed', 'cancelled') THEN
            NEW.completed_at := coalesce(NEW.completed_at, NEW.failed_at, NEW.updated_at);
            IF NEW.status = 'failed' THEN
                NEW.failed_at := coalesce(NEW.failed_at, NEW.completed_at);
            END IF;
        END IF;
        PERFORM public.check_job_names(NEW.job_type, NEW.queue);
        PERFORM public.check_job_json(NEW);
    ELSE
        NEW.id := coalesce(nullif(NEW.id, _nil), OLD.id);
        NEW.fence := OLD.fence;
        IF NEW.status IS DISTINCT FROM OLD.status THEN
            NEW.fence := OLD.fence + 1;
            IF NEW.status IN ('completed', 'failed', 'cancelled') THEN
                IF NEW.status = 'failed' THEN
                    NEW.failed_at := coalesce(NEW.failed_at, NEW.completed_at, now());
                END IF;
                NEW.completed_at := coalesce(NEW.completed_at, NEW.failed_at, now());
            ELSE
                NEW.completed_at := NULL;
                NEW.failed_at := NULL;
                NEW.cancel_requested_at := NULL;
                IF NEW.status = 'processing' THEN
                    NEW.claimed_at := coalesce(NEW.claimed_at, now());
                    NEW.started_at := coalesce(NEW.started_at, now());
                ELSE
                    NEW.claimed_at := NULL;
                    NEW.worker_id := NULL;
                END IF;
            END IF;
        END IF;
    END IF;
    NEW.created_at := public.bounded_time(NEW.created_at);
    NEW.updated_at := public.bounded_time(NEW.updated_at);
    NEW.retry_after := public.bounded_time(NEW.retry_after);
    NEW.claimed_at := public.bounded_time(NEW.claimed_at);
    NEW.started_at := public.bounded_time(NEW.started_at);
    NEW.completed_at := public.bounded_time(NEW.completed_at);
    NEW.failed_at := public.bounded_time(NEW.failed_at);
    NEW.estimated_completion := public.bounded_time(NEW.estimated_completion);
    NEW.cancel_requested_at := public.bounded_time(NEW.cancel_requested_at);
    NEW.current_step := left(NEW.current_step, 1000);
    NEW.priority_reason := left(NEW.priority_reason, 200);
    NEW.worker_id := left(NEW.worker_id, 255);
    NEW.error_code := left(NEW.error_code, 200);
    NEW.error_message := left(NEW.error_message, 16384);
    NEW.idempotency_hash := substring(NEW.idempotency_hash, 1, 64);
    NEW.retry_count := public.bounded_number(NEW.retry_count::numeric, 1000::numeric);
    NEW.crash_count := public.bounded_number(NEW.crash_count::numeric, 1000::numeric);
    NEW.progress_percent := public.bounded_number(NEW.progress_percent::numeric, 100::numeric);
    NEW.steps_completed := public.bounded_number(NEW.steps_completed::numeric, 1e6);
    NEW.total_steps := CASE WHEN NEW.total_steps BETWEEN 0 AND 1e6 THEN NEW.total_steps END;
    NEW.duration_seconds :=
        CASE WHEN NEW.duration_seconds BETWEEN 0 AND 1e9 THEN NEW.duration_seconds END;
    NEW.ai_requests := public.bounded_number(NEW.ai_requests::numeric, 1e9);
    NEW.ai_tokens_input := public.bounded_number(NEW.ai_tokens_input::numeric, 1e12);
    NEW.ai_tokens_output := public.bounded_number(NEW.ai_tokens_output::numeric, 1e12);
    NEW.ai_cost_usd := public.bounded_number(NEW.ai_cost_usd, 999999.9999);
    RETURN NEW;
END
$$;

-- What somebody else writes about a job that has finished may belong into a minute that is rolled
-- up already: that one is to be counted again. (What finishes now is in no rolled-up minute.)
CREATE OR REPLACE FUNCTION public.mark_finished_job()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    INSERT INTO public.job_rollup_marks (minute)
    SELECT DISTINCT date_bin('1 minute', m, '2000-01-01 00:00:00+00')
    FROM unnest(ARRAY[
        CASE WHEN TG_OP = 'UPDATE' THEN OLD.completed_at END, NEW.completed_at
    ]) AS m
    WHERE m > now() - interval '20 hours'
      AND m < now() - interval '5 seconds';
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION public.follow_job()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND OLD.id <> NEW.id) THEN
        DELETE FROM public.job_queue WHERE id = OLD.id;
    END IF;
    -- Another priority or queue is no reason for its worker to look.
    IF OLD.status = 'processing'
        AND (TG_OP = 'DELETE'
             OR (OLD.id, OLD.fence, OLD.cancel_requested_at)
                IS DISTINCT FROM (NEW.id, NEW.fence, NEW.cancel_requested_at))
    THEN
        -- The worker that runs it looks, finds its lease lost or the request, and stops.
        PERFORM pg_notify('wastewise_cancel', OLD.id::text);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN NULL;
    END IF;
    PERFORM public.queue_jobs(ARRAY[NEW.id]);
    IF TG_OP = 'UPDATE' AND NEW.status = 'failed' AND OLD.status <> 'failed' THEN
        -- raise_updated_jobs counts them all when the statement ends.
        INSERT INTO public.job_alert_failures (job_id) VALUES (NEW.id);
    ELSIF TG_OP = 'UPDATE' AND OLD.status = 'failed' AND NEW.status <> 'failed' THEN
        PERFORM public.note_requeued_jobs(ARRAY[NEW.id]);
    END IF;
    IF NEW.status = 'pending' THEN
        -- Equal notifications of one transaction are sent once.
        PERFORM pg_notify('wastewise_wake', NEW.queue);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION public.empty_job_queue()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    DELETE FROM public.job_queue;
    RETURN NULL;
END
$$;

-- Only fired where the value is not the secret: whoever wrote it, it stands for nothing.
CREATE OR REPLACE FUNCTION public.drop_forged_transition()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    -- That of the statement; this function is one deeper.
    PERFORM set_config('wastewise.transition_' || (pg_trigger_depth() - 1)::text, '', true);
    RETURN NULL;
END
$$;

DO $$
DECLARE
    _proof bytea := (SELECT sha256(convert_to(i.transition_key, 'UTF8')) FROM public.schema_info i);
BEGIN
    EXECUTE format($trigger$
        CREATE OR REPLACE TRIGGER wastewise_prove
        BEFORE INSERT OR UPDATE ON public.analysis_jobs
        FOR EACH STATEMENT
        WHEN (
            current_setting('wastewise.transition_' || pg_trigger_depth()::text, true) <> ''
            AND sha256(convert_to(
                current_setting('wastewise.transition_' || pg_trigger_depth()::text, true), 'UTF8'
            )) <> %L::bytea
        )
        EXECUTE FUNCTION public.drop_forged_transition()
    $trigger$, _proof);
END
$$;

-- Each of the following that is about plain writes asks the same: row level security applies to the
-- writer, who may set the value in the middle of a statement, or no transition is under way.
CREATE OR REPLACE TRIGGER wastewise_check_updated
BEFORE UPDATE OF job_type, queue, input_data, result_data, error_details, retry_error_log
ON public.analysis_jobs
FOR EACH ROW
WHEN (
    row_security_active('public.analysis_jobs'::regclass)
    OR coalesce(current_setting('wastewise.transition_' || pg_trigger_depth()::text, true), '') = ''
)
EXECUTE FUNCTION public.check_updated_job();

CREATE OR REPLACE TRIGGER wastewise_fill_inserted
BEFORE INSERT ON public.analysis_jobs
FOR EACH ROW
WHEN (
    row_security_active('public.analysis_jobs'::regclass)
    OR coalesce(current_setting('wastewise.transition_' || pg_trigger_depth()::text, true), '') = ''
)
EXECUTE FUNCTION public.keep_written_job();

CREATE OR REPLACE TRIGGER wastewise_fence_updated
BEFORE UPDATE ON public.analysis_jobs
FOR EACH ROW
WHEN (
    row_security_active('public.analysis_jobs'::regclass)
    OR coalesce(current_setting('wastewise.transition_' || pg_trigger_depth()::text, true), '') = ''
)
EXECUTE FUNCTION public.keep_written_job();

-- What did their work in an earlier release.
DROP FUNCTION IF EXISTS public.fill_inserted_job();
DROP FUNCTION IF EXISTS public.fence_updated_job();

CREATE OR REPLACE TRIGGER wastewise_follow_inserted
AFTER INSERT ON public.analysis_jobs
FOR EACH ROW
WHEN (
    row_security_active('public.analysis_jobs'::regclass)
    OR coalesce(current_setting('wastewise.transition_' || pg_trigger_depth()::text, true), '') = ''
)
EXECUTE FUNCTION public.follow_job();

CREATE OR REPLACE TRIGGER wastewise_follow_updated
AFTER UPDATE ON public.analysis_jobs
FOR EACH ROW
WHEN (
    (
        row_security_active('public.analysis_jobs'::regclass)
        OR coalesce(current_setting('wastewise.transition_' || pg_trigger_depth()::text, true), '') = ''
    )
    AND (OLD.status, OLD.priority, OLD.created_at, OLD.retry_after, OLD.queue, OLD.job_type, OLD.fence,
     OLD.id, OLD.cancel_requested_at, OLD.crash_count)
    IS DISTINCT FROM
    (NEW.status, NEW.priority, NEW.created_at, NEW.retry_after, NEW.queue, NEW.job_type, NEW.fence,
     NEW.id, NEW.cancel_requested_at, NEW.crash_count)
)
EXECUTE FUNCTION public.follow_job();

CREATE OR REPLACE TRIGGER wastewise_mark_inserted
AFTER INSERT ON public.analysis_jobs
FOR EACH ROW
WHEN (
    NEW.completed_at IS NOT NULL
    AND (
        row_security_active('public.analysis_jobs'::regclass)
        OR coalesce(current_setting('wastewise.transition_' || pg_trigger_depth()::text, true), '') = ''
    )
)
EXECUTE FUNCTION public.mark_finished_job();

-- Our own functions too where a finished job is sent round again.
CREATE OR REPLACE TRIGGER wastewise_mark_updated
AFTER UPDATE ON public.analysis_jobs
FOR EACH ROW
WHEN (
    (OLD.completed_at, OLD.status, OLD.job_type, OLD.duration_seconds)
    IS DISTINCT FROM
    (NEW.completed_at, NEW.status, NEW.job_type, NEW.duration_seconds)
    AND (
        OLD.completed_at IS NOT NULL
        OR (NEW.completed_at IS NOT NULL AND (
            row_security_active('public.analysis_jobs'::regclass)
            OR coalesce(current_setting('wastewise.transition_' || pg_trigger_depth()::text, true), '') = ''
        ))
    )
)
EXECUTE FUNCTION public.mark_finished_job();

-- A cascade deletes as the owner, whoever began it: only what the row is counts here. What we prune
-- has finished.
CREATE OR REPLACE TRIGGER wastewise_follow_deleted
AFTER DELETE ON public.analysis_jobs
FOR EACH ROW
WHEN (OLD.status IN ('pending', 'processing'))
EXECUTE FUNCTION public.follow_job();

CREATE OR REPLACE TRIGGER wastewise_follow_truncate
AFTER TRUNCATE ON public.analysis_jobs
FOR EACH STATEMENT
EXECUTE FUNCTION public.empty_job_queue();
