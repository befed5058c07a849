-- What keeps job_queue true when somebody else writes analysis_jobs: the existing front end, a
-- person at psql, a cascade. Our own functions keep it themselves, and say so: while they write, the
-- setting wastewise.transition_0 has a value. Each depth of triggers has its own setting: what
-- somebody's trigger writes while a row of ours changes is no write of ours.
-- It is a setting, because every row's trigger reads it. But anybody may set one, so the value is a
-- secret that only the owner of schema_info can read, and each statement proves it before its first
-- row: by its hash, which stands where anybody can read it.
-- pg_trigger_depth()::text: to concatenate the number itself is an SQL function, which every
-- statement would plan anew in every trigger's condition.

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
