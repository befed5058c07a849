-- The names of jobs are checked where they are written.
--
-- PostgreSQL evaluates every CHECK at every UPDATE, and two regular expressions were half of what an
-- update of a job cost. Functions and triggers refuse the same names with the same error, but look
-- only where a name is inserted or changed.

ALTER TABLE analysis_jobs
    DROP CONSTRAINT IF EXISTS analysis_jobs_job_type_check,
    DROP CONSTRAINT IF EXISTS analysis_jobs_queue_check;

-- Their work is done by wastewise_fill_inserted and wastewise_check_updated.
DROP TRIGGER IF EXISTS wastewise_json_written ON analysis_jobs;
DROP FUNCTION IF EXISTS refuse_huge_json();
