-- The names of jobs are checked where they are written.
--
-- PostgreSQL evaluates every CHECK at every UPDATE, and two regular expressions were half of what an
-- update of a job cost. A trigger refuses the same names with the same error, but looks only when
-- a name is inserted or changed.

ALTER TABLE analysis_jobs
    DROP CONSTRAINT IF EXISTS analysis_jobs_job_type_check,
    DROP CONSTRAINT IF EXISTS analysis_jobs_queue_check;
