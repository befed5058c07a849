-- A database that we made is emptied. An adopted one keeps its tables and rows: only the columns,
-- indexes and checks that mean nothing without us go.
DO $$
BEGIN
    IF (SELECT s.adopted FROM schema_info s) THEN
        DROP INDEX IF EXISTS analysis_jobs_idempotency;
        DROP INDEX IF EXISTS analysis_jobs_by_user;
        DROP INDEX IF EXISTS analysis_jobs_by_project;
        DROP INDEX IF EXISTS analysis_jobs_by_creation;
        DROP INDEX IF EXISTS analysis_jobs_by_completion;
        DROP INDEX IF EXISTS projects_by_user;
        ALTER TABLE analysis_jobs
            DROP CONSTRAINT IF EXISTS analysis_jobs_queue_check,
            DROP CONSTRAINT IF EXISTS analysis_jobs_counts_check,
            DROP CONSTRAINT IF EXISTS analysis_jobs_timeout_check,
            DROP CONSTRAINT IF EXISTS analysis_jobs_idempotency_check,
            DROP COLUMN IF EXISTS queue,
            DROP COLUMN IF EXISTS fence,
            DROP COLUMN IF EXISTS crash_count,
            DROP COLUMN IF EXISTS timeout_seconds,
            DROP COLUMN IF EXISTS cancel_requested_at,
            DROP COLUMN IF EXISTS idempotency_key,
            DROP COLUMN IF EXISTS idempotency_hash;
        ALTER TABLE projects
            DROP COLUMN IF EXISTS containers,
            DROP COLUMN IF EXISTS container_yards,
            DROP COLUMN IF EXISTS pickups_per_week;
    ELSE
        DROP TABLE analysis_jobs;
        DROP TABLE projects;
    END IF;
END
$$;

DROP TABLE schema_info;
