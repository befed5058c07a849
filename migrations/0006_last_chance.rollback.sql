DROP FUNCTION IF EXISTS claim_jobs(text, text[], text[], integer, interval, boolean);

ALTER TABLE job_queue
    DROP COLUMN IF EXISTS last_chance;
