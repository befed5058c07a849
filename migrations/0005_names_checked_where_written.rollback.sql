DROP TRIGGER IF EXISTS wastewise_check_updated ON analysis_jobs;
DROP FUNCTION IF EXISTS check_updated_job();
DROP FUNCTION IF EXISTS check_job_json(analysis_jobs);
DROP FUNCTION IF EXISTS check_job_names(text, text);

ALTER TABLE analysis_jobs
    ADD CONSTRAINT analysis_jobs_job_type_check CHECK
        (job_type ~ '^[a-z][a-z0-9_.-]{0,62}$') NOT VALID,
    ADD CONSTRAINT analysis_jobs_queue_check CHECK
        (queue ~ '^[a-z][a-z0-9_.-]{0,62}$') NOT VALID;
