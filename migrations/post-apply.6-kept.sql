-- How a plain write of a job is completed, kept within bounds, or refused.

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
    -- Of some a text would take gigabytes.
    IF public.has_long_text(_job.input_data, 1048576) OR octet_length(_job.input_data::text) > 1048576
        OR public.has_long_text(_job.error_details, 1048576)
        OR octet_length(_job.error_details::text) > 1048576
        OR public.has_long_text(_job.retry_error_log, 1048576)
        OR octet_length(_job.retry_error_log::text) > 1048576
        OR public.has_long_text(_job.result_data, 16777216)
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
