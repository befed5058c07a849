DROP FUNCTION IF EXISTS rescue_these_jobs(uuid[]);
DROP FUNCTION IF EXISTS cancel_running_jobs(uuid[], bigint[]);

ALTER TABLE job_queue
    DROP CONSTRAINT IF EXISTS job_queue_expired,
    DROP COLUMN IF EXISTS expired;
