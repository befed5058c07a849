-- How much a user may have at once: projects, bytes in files, unfinished jobs. The service asks for
-- its users, a trigger for foreign writers; neither asks where a quota is 0.

-- set_quotas: what the settings say, from now on; 0 is without limit.
CREATE OR REPLACE FUNCTION public.set_quotas(
    _projects bigint, _stored_bytes bigint, _pending_jobs bigint
)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    UPDATE public.schema_info s
    SET quota_projects = _projects,
        quota_stored_bytes = _stored_bytes,
        quota_pending_jobs = _pending_jobs
    WHERE (s.quota_projects, s.quota_stored_bytes, s.quota_pending_jobs)
        IS DISTINCT FROM (_projects, _stored_bytes, _pending_jobs);
    IF FOUND THEN
        -- While the quota was off nobody counted.
        UPDATE public.quota_uses SET jobs = NULL WHERE jobs IS NOT NULL;
    END IF;
END
$$;

-- quota_jobs_of: how many unfinished jobs the user has, of whom the caller is about to make _wanted
-- more. Holds the user's row. Counts only where the remembered number says too many, or is a minute
-- old: what finished since, and what others than users made, is seen then.
CREATE OR REPLACE FUNCTION public.quota_jobs_of(_user uuid, _wanted bigint, _allowed bigint)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
AS $$
DECLARE
    _jobs bigint;
    _counted_at timestamptz;
BEGIN
    INSERT INTO public.quota_uses AS q (user_id)
    VALUES (_user)
    ON CONFLICT (user_id) DO UPDATE
    SET asked = q.asked + 1
    RETURNING q.jobs, q.counted_at INTO _jobs, _counted_at;

    IF _jobs + _wanted <= _allowed AND _counted_at > clock_timestamp() - interval '1 minute' THEN
        RETURN _jobs;
    END IF;
    -- The newest first: whoever has too many has them there, and no more are looked for.
    SELECT count(*) INTO _jobs
    FROM (
        SELECT
        FROM public.analysis_jobs j
        WHERE j.user_id = _user
          AND j.status IN ('pending', 'processing')
        ORDER BY j.created_at DESC, j.id DESC
        LIMIT _allowed
    ) AS unfinished;
    UPDATE public.quota_uses q
    SET jobs = _jobs,
        counted_at = clock_timestamp()
    WHERE q.user_id = _user;
    RETURN _jobs;
END
$$;

-- quota_refusal: nothing where the user may have so many more; otherwise the quota that says no. What
-- is not refused counts from here on, and is held until the caller's transaction ends: make it there.
CREATE OR REPLACE FUNCTION public.quota_refusal(
    _user uuid, _projects bigint DEFAULT 0, _stored_bytes bigint DEFAULT 0, _jobs bigint DEFAULT 0
)
RETURNS TABLE (quota text, allowed bigint, used bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _limits public.schema_info;
BEGIN
    SELECT s.* INTO _limits FROM public.schema_info s;
    IF (_limits.quota_projects > 0 AND _projects > 0)
        OR (_limits.quota_stored_bytes > 0 AND _stored_bytes > 0)
    THEN
        INSERT INTO public.quota_uses AS q (user_id)
        VALUES (_user)
        ON CONFLICT (user_id) DO UPDATE
        SET asked = q.asked + 1;
    END IF;
    -- Statements of their own: they see what whoever held the row before has committed.
    IF _limits.quota_projects > 0 AND _projects > 0 THEN
        used := (
            SELECT count(*)
            FROM (
                SELECT
                FROM public.projects p
                WHERE p.user_id = _user
                LIMIT _limits.quota_projects
            ) AS mine
        );
        IF used + _projects > _limits.quota_projects THEN
            quota := 'projects';
            allowed := _limits.quota_projects;
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;
    IF _limits.quota_stored_bytes > 0 AND _stored_bytes > 0 THEN
        -- The length of a content is known without reading it.
        used := (
            SELECT coalesce(sum(octet_length(c.content)), 0)
            FROM public.projects p
            JOIN public.project_file_contents c ON c.project_id = p.id
            WHERE p.user_id = _user
        );
        IF used + _stored_bytes > _limits.quota_stored_bytes THEN
            quota := 'stored_bytes';
            allowed := _limits.quota_stored_bytes;
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;
    IF _limits.quota_pending_jobs > 0 AND _jobs > 0 THEN
        used := public.quota_jobs_of(_user, _jobs, _limits.quota_pending_jobs);
        IF used + _jobs > _limits.quota_pending_jobs THEN
            quota := 'pending_jobs';
            allowed := _limits.quota_pending_jobs;
            RETURN NEXT;
            RETURN;
        END IF;
        UPDATE public.quota_uses q SET jobs = q.jobs + _jobs WHERE q.user_id = _user;
    END IF;
END
$$;

-- quota_job_refusals: which of these jobs, by their position, are too many for their users; a user
-- that is NULL has no quota. First come, first served; a job whose key was used before is none more.
-- What is not refused is taken, as by quota_refusal.
CREATE OR REPLACE FUNCTION public.quota_job_refusals(_users uuid[], _keys text[])
RETURNS TABLE ("position" integer, allowed bigint, used bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
-- As enqueue_jobs: a batch waits for nobody's transaction for long.
SET lock_timeout = '2s'
SET enable_seqscan = off
AS $$
DECLARE
    _user uuid;
    _new integer[];
    _left bigint;
BEGIN
    SELECT s.quota_pending_jobs INTO allowed FROM public.schema_info s;
    IF allowed = 0 THEN
        RETURN;
    END IF;
    -- In one order, so that two batches never wait for each other.
    FOR _user IN
        SELECT DISTINCT u FROM unnest(_users) AS u WHERE u IS NOT NULL ORDER BY u
    LOOP
        _new := ARRAY (
            SELECT g.n
            FROM unnest(_users, _keys) WITH ORDINALITY AS g (user_id, idempotency_key, n)
            WHERE g.user_id = _user
              AND NOT EXISTS (
                  SELECT
                  FROM public.analysis_jobs j
                  WHERE coalesce(j.user_id, '00000000-0000-0000-0000-000000000000'::uuid) = _user
                    AND j.idempotency_key = g.idempotency_key
              )
            ORDER BY g.n
        );
        CONTINUE WHEN cardinality(_new) = 0;
        used := public.quota_jobs_of(_user, cardinality(_new), allowed);
        _left := greatest(allowed - used, 0);
        UPDATE public.quota_uses q
        SET jobs = q.jobs + least(_left, cardinality(_new))
        WHERE q.user_id = _user;
        FOREACH "position" IN ARRAY _new[_left + 1:] LOOP
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;

-- What a foreign writer inserts obeys the same quotas. Rows that are born finished wait for nobody.
CREATE OR REPLACE FUNCTION public.quota_guard()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _refusal record;
BEGIN
    IF TG_TABLE_NAME = 'projects' THEN
        SELECT r.* INTO _refusal FROM public.quota_refusal(NEW.user_id, _projects => 1) r;
    ELSIF NEW.status IN ('pending', 'processing') AND NEW.user_id IS NOT NULL THEN
        SELECT r.* INTO _refusal FROM public.quota_refusal(NEW.user_id, _jobs => 1) r;
    ELSE
        RETURN NEW;
    END IF;
    IF _refusal.quota IS NOT NULL THEN
        RAISE EXCEPTION 'quota_exceeded: % of at most % %',
            _refusal.used, _refusal.allowed, replace(_refusal.quota, '_', ' ')
            USING ERRCODE = '42501', HINT = 'Delete some, or wait until some jobs have finished.';
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER wastewise_quota
BEFORE INSERT ON public.projects
FOR EACH ROW
WHEN (row_security_active('public.projects'::regclass) AND current_user <> 'service_role')
EXECUTE FUNCTION public.quota_guard();

CREATE OR REPLACE TRIGGER wastewise_quota
BEFORE INSERT ON public.analysis_jobs
FOR EACH ROW
WHEN (row_security_active('public.analysis_jobs'::regclass) AND current_user <> 'service_role')
EXECUTE FUNCTION public.quota_guard();

-- One that is sent round again is one more.
CREATE OR REPLACE TRIGGER wastewise_quota_updated
BEFORE UPDATE ON public.analysis_jobs
FOR EACH ROW
WHEN (
    NEW.status IN ('pending', 'processing')
    AND OLD.status NOT IN ('pending', 'processing')
    AND row_security_active('public.analysis_jobs'::regclass)
    AND current_user <> 'service_role'
)
EXECUTE FUNCTION public.quota_guard();
