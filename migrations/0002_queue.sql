-- The hot table, the registry of job types and the workers.

-- A row exists exactly while its job is pending or processing. It is the index that PostgreSQL
-- cannot give: claims read only this table, so finished jobs cost them nothing.
CREATE TABLE job_queue (
    id uuid PRIMARY KEY,
    queue text NOT NULL,
    job_type text NOT NULL,
    priority integer NOT NULL CHECK (priority BETWEEN 1 AND 10),
    created_at timestamptz NOT NULL,
    retry_after timestamptz,
    -- Pending and claimable now. A pending row that is not due waits for its retry_after.
    due boolean NOT NULL,
    -- Processing. Apart from lease_expires_at, so that renewing a lease is a HOT update.
    leased boolean NOT NULL DEFAULT false,
    fence bigint NOT NULL,
    lease_expires_at timestamptz,
    -- After this moment a lease is renewed no more: a worker that hangs loses the job.
    deadline_at timestamptz,
    CONSTRAINT job_queue_due_or_leased CHECK (NOT (due AND leased)),
    CONSTRAINT job_queue_waits_for CHECK (due OR leased OR retry_after IS NOT NULL),
    CONSTRAINT job_queue_lease CHECK (leased = (lease_expires_at IS NOT NULL))
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX job_queue_due ON job_queue (queue, job_type, priority, created_at, id) WHERE due;
CREATE INDEX job_queue_waiting ON job_queue (priority, retry_after) WHERE NOT due AND NOT leased;
CREATE INDEX job_queue_leased ON job_queue (id) WHERE leased;

-- What processes that carry handlers have said about them; the API validates by it.
CREATE TABLE job_types (
    job_type text PRIMARY KEY CHECK (job_type ~ '^[a-z][a-z0-9_.-]{0,62}$'),
    queue text NOT NULL DEFAULT 'default' CHECK (queue ~ '^[a-z][a-z0-9_.-]{0,62}$'),
    priority integer NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 10),
    timeout_seconds double precision NOT NULL DEFAULT 600
        CHECK (timeout_seconds > 0 AND timeout_seconds <= 604800),
    max_retries integer NOT NULL DEFAULT 3 CHECK (max_retries BETWEEN 0 AND 100),
    run_in text NOT NULL DEFAULT 'loop' CHECK (run_in IN ('loop', 'thread', 'process')),
    description text NOT NULL DEFAULT '',
    input_schema jsonb NOT NULL DEFAULT '{}'::jsonb,
    needs_project boolean NOT NULL DEFAULT false,
    -- Its jobs touch what belongs to everybody.
    admin_only boolean NOT NULL DEFAULT false,
    -- Set for a type that is known but cannot be enqueued; says what an operator must do.
    refusal text,
    registered_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz
);

CREATE TABLE job_workers (
    worker_id text PRIMARY KEY,
    name text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    queues text[] NOT NULL,
    job_types text[] NOT NULL,
    concurrency integer NOT NULL,
    running integer NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    last_heartbeat_at timestamptz NOT NULL DEFAULT now(),
    cpu_percent real,
    memory_bytes bigint,
    loop_lag_seconds real,
    draining boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

ALTER TABLE job_queue ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_types ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_workers ENABLE ROW LEVEL SECURITY;

-- Functions of an existing database with these names: a parameter cannot be renamed in place, and
-- an old overload would make calls ambiguous. Ours are made by the post-apply files.
DO $$
DECLARE
    _function text;
BEGIN
    FOR _function IN
        SELECT p.oid::regprocedure::text
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
          AND p.proname IN (
              'get_next_job', 'assign_job_priority', 'schedule_job_retry', 'calculate_error_rate',
              'detect_stuck_jobs', 'cleanup_old_analysis_jobs', 'get_queue_metrics')
    LOOP
        EXECUTE 'DROP FUNCTION ' || _function;
    END LOOP;
END
$$;
