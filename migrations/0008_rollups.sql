-- What finished, counted: figures that cost the same however many jobs there are, and a history that
-- outlives pruning. And by what processes agree whose turn the periodic task is.

-- A row per minute (kept for days) and per quarter of an hour (kept for a year) and job type.
-- Every zone's midnight falls on a quarter of an hour.
CREATE TABLE job_rollups (
    bucket_minutes integer NOT NULL CHECK (bucket_minutes IN (1, 15)),
    bucket_at timestamptz NOT NULL,
    job_type text NOT NULL,
    completed bigint NOT NULL,
    failed bigint NOT NULL,
    cancelled bigint NOT NULL,
    -- How many attempts of these jobs were repeated before they finished.
    retried bigint NOT NULL,
    -- Completed ones whose duration is known, and the sum of it.
    timed bigint NOT NULL,
    run_seconds double precision NOT NULL,
    -- {bin: count}, bins as duration_bin() has them: from creation to the start of a first
    -- attempt, and of the last run of jobs that completed or failed.
    waits jsonb NOT NULL,
    runs jsonb NOT NULL,
    PRIMARY KEY (bucket_minutes, bucket_at, job_type)
);

-- Minutes whose jobs somebody wrote after they had, or may have, been counted. Only ever appended
-- to, so that writers never wait for each other here.
CREATE TABLE job_rollup_marks (
    minute timestamptz NOT NULL
);

ALTER TABLE schema_info
    -- Everything that finished before this moment is in job_rollups.
    ADD COLUMN rolled_up_until timestamptz,
    -- When the next round of the periodic task may begin, and until when the one that runs now may.
    ADD COLUMN round_due_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN round_until timestamptz;

ALTER TABLE job_rollups ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_rollup_marks ENABLE ROW LEVEL SECURITY;

-- Of the dead letters. Completions leave failed_at alone, so it costs them nothing.
CREATE INDEX IF NOT EXISTS analysis_jobs_by_failure
    ON analysis_jobs (failed_at) WHERE failed_at IS NOT NULL;
