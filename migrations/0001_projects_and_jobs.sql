-- Projects and jobs, created where they are missing and adopted where an existing WasteWise
-- database already has them: columns are added, rows are kept, policies and foreign keys stay.

CREATE TABLE IF NOT EXISTS schema_info (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    schema_version integer NOT NULL DEFAULT 0,
    min_compatible integer NOT NULL DEFAULT 0,
    post_apply_hash text,
    -- True when analysis_jobs was here before us: a rollback then leaves it and its rows alone.
    adopted boolean NOT NULL,
    -- The lease of claims that nobody can renew (get_next_job, adopted rows, plain UPDATEs).
    stuck_threshold interval NOT NULL DEFAULT interval '30 minutes',
    updated_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO schema_info (adopted)
VALUES (to_regclass('public.analysis_jobs') IS NOT NULL)
ON CONFLICT DO NOTHING;

-- Read again at the end: which tables are about to be made, and which were here before us.
DO $$
BEGIN
    PERFORM set_config(
        'wastewise.made',
        concat_ws(
            ',',
            CASE WHEN to_regclass('public.projects') IS NULL THEN 'projects' END,
            CASE WHEN to_regclass('public.analysis_jobs') IS NULL THEN 'analysis_jobs' END
        ),
        true
    );
END
$$;

CREATE TABLE IF NOT EXISTS projects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    property_name text NOT NULL,
    units integer NOT NULL CHECK (units BETWEEN 10 AND 2000),
    city text NOT NULL,
    state text NOT NULL,
    property_type text,
    status text NOT NULL DEFAULT 'draft'
        CHECK (status IN ('draft', 'processing', 'completed', 'failed', 'cancelled')),
    progress integer NOT NULL DEFAULT 0,
    total_savings numeric,
    equipment_type text,
    analysis_period_months numeric,
    error_message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE projects
    ADD COLUMN IF NOT EXISTS property_type text,
    ADD COLUMN IF NOT EXISTS status text DEFAULT 'draft',
    ADD COLUMN IF NOT EXISTS progress integer DEFAULT 0,
    ADD COLUMN IF NOT EXISTS total_savings numeric,
    ADD COLUMN IF NOT EXISTS equipment_type text,
    ADD COLUMN IF NOT EXISTS analysis_period_months numeric,
    ADD COLUMN IF NOT EXISTS error_message text,
    ADD COLUMN IF NOT EXISTS containers integer CHECK (containers BETWEEN 1 AND 1000),
    ADD COLUMN IF NOT EXISTS container_yards numeric
        CHECK (container_yards > 0 AND container_yards <= 100),
    ADD COLUMN IF NOT EXISTS pickups_per_week numeric
        CHECK (pickups_per_week > 0 AND pickups_per_week <= 50);

CREATE INDEX IF NOT EXISTS projects_by_user ON projects (user_id, created_at, id);

CREATE TABLE IF NOT EXISTS analysis_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid,
    project_id uuid REFERENCES projects (id) ON DELETE CASCADE,
    job_type text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    progress_percent integer NOT NULL DEFAULT 0,
    current_step text,
    total_steps integer,
    steps_completed integer NOT NULL DEFAULT 0,
    started_at timestamptz,
    completed_at timestamptz,
    estimated_completion timestamptz,
    duration_seconds double precision,
    input_data jsonb NOT NULL DEFAULT '{}'::jsonb,
    result_data jsonb,
    error_message text,
    error_code text,
    error_details jsonb,
    failed_at timestamptz,
    retry_count integer NOT NULL DEFAULT 0,
    max_retries integer NOT NULL DEFAULT 3,
    ai_requests integer NOT NULL DEFAULT 0,
    ai_tokens_input bigint NOT NULL DEFAULT 0,
    ai_tokens_output bigint NOT NULL DEFAULT 0,
    ai_cost_usd numeric NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE analysis_jobs
    ADD COLUMN IF NOT EXISTS progress_percent integer DEFAULT 0,
    ADD COLUMN IF NOT EXISTS current_step text,
    ADD COLUMN IF NOT EXISTS total_steps integer,
    ADD COLUMN IF NOT EXISTS steps_completed integer DEFAULT 0,
    ADD COLUMN IF NOT EXISTS started_at timestamptz,
    ADD COLUMN IF NOT EXISTS completed_at timestamptz,
    ADD COLUMN IF NOT EXISTS estimated_completion timestamptz,
    ADD COLUMN IF NOT EXISTS duration_seconds double precision,
    ADD COLUMN IF NOT EXISTS result_data jsonb,
    ADD COLUMN IF NOT EXISTS error_message text,
    ADD COLUMN IF NOT EXISTS error_code text,
    ADD COLUMN IF NOT EXISTS error_details jsonb,
    ADD COLUMN IF NOT EXISTS failed_at timestamptz,
    ADD COLUMN IF NOT EXISTS retry_count integer DEFAULT 0,
    ADD COLUMN IF NOT EXISTS max_retries integer DEFAULT 3,
    ADD COLUMN IF NOT EXISTS ai_requests integer DEFAULT 0,
    ADD COLUMN IF NOT EXISTS ai_tokens_input bigint DEFAULT 0,
    ADD COLUMN IF NOT EXISTS ai_tokens_output bigint DEFAULT 0,
    ADD COLUMN IF NOT EXISTS ai_cost_usd numeric DEFAULT 0,
    ADD COLUMN IF NOT EXISTS retry_after timestamptz,
    ADD COLUMN IF NOT EXISTS retry_error_log jsonb DEFAULT '[]'::jsonb,
    ADD COLUMN IF NOT EXISTS priority integer DEFAULT 5,
    ADD COLUMN IF NOT EXISTS priority_reason text,
    ADD COLUMN IF NOT EXISTS worker_id text,
    ADD COLUMN IF NOT EXISTS claimed_at timestamptz,
    ADD COLUMN IF NOT EXISTS queue text NOT NULL DEFAULT 'default',
    ADD COLUMN IF NOT EXISTS fence bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS crash_count integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS timeout_seconds double precision,
    ADD COLUMN IF NOT EXISTS cancel_requested_at timestamptz,
    ADD COLUMN IF NOT EXISTS idempotency_key text,
    ADD COLUMN IF NOT EXISTS idempotency_hash bytea;

-- The default only filled the rows that were there: a plain INSERT gets the queue of its job type.
ALTER TABLE analysis_jobs ALTER COLUMN queue DROP DEFAULT;
-- cleanup jobs belong to nobody.
ALTER TABLE analysis_jobs ALTER COLUMN user_id DROP NOT NULL;
ALTER TABLE analysis_jobs ALTER COLUMN project_id DROP NOT NULL;

-- What no claim could read or no transition could write is brought within our limits.
UPDATE analysis_jobs
SET priority = least(greatest(coalesce(priority, 5), 1), 10),
    retry_count = greatest(coalesce(retry_count, 0), 0),
    max_retries = least(greatest(coalesce(max_retries, 3), 0), 100),
    retry_error_log =
        CASE WHEN jsonb_typeof(retry_error_log) = 'array' THEN retry_error_log ELSE '[]'::jsonb END,
    created_at = coalesce(created_at, started_at, completed_at, updated_at, now()),
    updated_at = coalesce(updated_at, completed_at, started_at, created_at, now())
WHERE priority IS NULL
   OR priority NOT BETWEEN 1 AND 10
   OR retry_count IS NULL
   OR retry_count < 0
   OR max_retries IS NULL
   OR max_retries NOT BETWEEN 0 AND 100
   OR jsonb_typeof(retry_error_log) IS DISTINCT FROM 'array'
   OR created_at IS NULL
   OR updated_at IS NULL;

ALTER TABLE analysis_jobs
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET NOT NULL,
    ALTER COLUMN priority SET DEFAULT 5,
    ALTER COLUMN priority SET NOT NULL,
    ALTER COLUMN retry_count SET DEFAULT 0,
    ALTER COLUMN retry_count SET NOT NULL,
    ALTER COLUMN max_retries SET DEFAULT 3,
    ALTER COLUMN max_retries SET NOT NULL,
    ALTER COLUMN retry_error_log SET DEFAULT '[]'::jsonb,
    ALTER COLUMN retry_error_log SET NOT NULL;

-- The existing checks on job_type, status and priority give way to ours. NOT VALID: old rows are
-- history and are kept whatever they say, every write from now on is checked.
DO $$
DECLARE
    _name text;
BEGIN
    FOR _name IN
        SELECT c.conname
        FROM pg_constraint c
        WHERE c.conrelid = 'public.analysis_jobs'::regclass
          AND c.contype = 'c'
          AND pg_get_constraintdef(c.oid) ~ '\m(job_type|status|priority)\M'
    LOOP
        EXECUTE format('ALTER TABLE public.analysis_jobs DROP CONSTRAINT %I', _name);
    END LOOP;
    -- Every index with status, worker or due time in it costs each status change its HOT update,
    -- and job_queue answers what they were made for.
    FOR _name IN
        SELECT i.indexrelid::regclass::text
        FROM pg_index i
        WHERE i.indrelid = 'public.analysis_jobs'::regclass
          AND NOT i.indisprimary
          AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid)
          AND pg_get_indexdef(i.indexrelid)
              ~ '\m(status|worker_id|claimed_at|retry_after|priority|started_at|updated_at|retry_count)\M'
    LOOP
        EXECUTE format('DROP INDEX %s', _name);
    END LOOP;
END
$$;

-- A job in a status that nobody knows, or unfinished of a type that nobody can name, would never end.
UPDATE analysis_jobs
SET status = 'failed',
    error_code = 'NOT_ADOPTED',
    error_message = format('found with status %s and job type %s', status, job_type),
    failed_at = now(),
    completed_at = now(),
    updated_at = now()
WHERE status IS NULL
   OR status NOT IN ('pending', 'processing', 'completed', 'failed', 'cancelled')
   OR (status IN ('pending', 'processing')
       AND (job_type IS NULL OR job_type !~ '^[a-z][a-z0-9_.-]{0,62}$'));

ALTER TABLE analysis_jobs
    ALTER COLUMN status SET DEFAULT 'pending',
    ALTER COLUMN status SET NOT NULL,
    ADD CONSTRAINT analysis_jobs_status_check CHECK
        (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')) NOT VALID,
    ADD CONSTRAINT analysis_jobs_job_type_check CHECK
        (job_type ~ '^[a-z][a-z0-9_.-]{0,62}$') NOT VALID,
    ADD CONSTRAINT analysis_jobs_queue_check CHECK
        (queue ~ '^[a-z][a-z0-9_.-]{0,62}$') NOT VALID,
    ADD CONSTRAINT analysis_jobs_priority_check CHECK (priority BETWEEN 1 AND 10) NOT VALID,
    ADD CONSTRAINT analysis_jobs_counts_check CHECK
        (retry_count >= 0 AND max_retries BETWEEN 0 AND 100 AND crash_count >= 0 AND fence >= 0)
        NOT VALID,
    ADD CONSTRAINT analysis_jobs_timeout_check CHECK
        (timeout_seconds > 0 AND timeout_seconds <= 604800) NOT VALID,
    ADD CONSTRAINT analysis_jobs_idempotency_check CHECK
        ((idempotency_key IS NULL) = (idempotency_hash IS NULL)
         AND length(idempotency_key) BETWEEN 1 AND 255) NOT VALID;

-- Room on each page for the new versions of its rows, so that status changes stay HOT.
ALTER TABLE analysis_jobs SET (fillfactor = 60);

-- Only columns that no transition writes are indexed, but for the one that pruning needs.
CREATE INDEX IF NOT EXISTS analysis_jobs_by_user
    ON analysis_jobs (user_id, created_at, id) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS analysis_jobs_by_project
    ON analysis_jobs (project_id, created_at, id) WHERE project_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS analysis_jobs_by_creation ON analysis_jobs (created_at, id);
CREATE INDEX IF NOT EXISTS analysis_jobs_by_completion
    ON analysis_jobs (completed_at) WHERE completed_at IS NOT NULL;
-- Jobs of nobody share one name space of keys.
CREATE UNIQUE INDEX IF NOT EXISTS analysis_jobs_idempotency
    ON analysis_jobs ((coalesce(user_id, '00000000-0000-0000-0000-000000000000'::uuid)), idempotency_key)
    WHERE idempotency_key IS NOT NULL;

ALTER TABLE schema_info ENABLE ROW LEVEL SECURITY;
ALTER TABLE projects ENABLE ROW LEVEL SECURITY;
ALTER TABLE analysis_jobs ENABLE ROW LEVEL SECURITY;

-- A table that we make is nobody's until somebody grants it, also where default privileges would
-- give new tables to everyone (TRUNCATE knows no row level security). Grants that an existing
-- database made on its own tables stay.
DO $$
DECLARE
    _table text;
    _role text;
BEGIN
    FOREACH _table IN ARRAY string_to_array(current_setting('wastewise.made'), ',') LOOP
        EXECUTE format('REVOKE ALL ON TABLE public.%I FROM PUBLIC', _table);
        FOR _role IN SELECT r.rolname FROM pg_roles r WHERE r.rolname IN ('anon', 'authenticated') LOOP
            EXECUTE format('REVOKE ALL ON TABLE public.%I FROM %I', _table, _role);
        END LOOP;
    END LOOP;
END
$$;
