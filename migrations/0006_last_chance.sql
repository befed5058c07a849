-- Of the jobs that have crashed twice, a worker process runs one at a time.

ALTER TABLE job_queue
    -- Two crashes already: what kills its process next is this job, or one that has crashed less.
    ADD COLUMN last_chance boolean NOT NULL DEFAULT false;

-- It has one parameter more.
DROP FUNCTION IF EXISTS claim_jobs(text, text[], text[], integer, interval);
