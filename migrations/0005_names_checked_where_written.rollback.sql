DROP TRIGGER IF EXISTS wastewise_names_written ON analysis_jobs;
DROP FUNCTION IF EXISTS refuse_bad_name();

ALTER TABLE analysis_jobs
    ADD CONSTRAINT analysis_jobs_job_type_check CHECK
        (job_type ~ '^[a-z][a-z0-9_.-]{0,62}$') NOT VALID,
    ADD CONSTRAINT analysis_jobs_queue_check CHECK
        (queue ~ '^[a-z][a-z0-9_.-]{0,62}$') NOT VALID;
