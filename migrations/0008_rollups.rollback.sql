DROP TRIGGER IF EXISTS wastewise_mark_inserted ON analysis_jobs;
DROP TRIGGER IF EXISTS wastewise_mark_updated ON analysis_jobs;
DROP FUNCTION IF EXISTS mark_finished_job();
DROP FUNCTION IF EXISTS duration_bin(double precision);
DROP FUNCTION IF EXISTS bin_seconds(integer);
DROP FUNCTION IF EXISTS merged_bins(jsonb[]);
DROP FUNCTION IF EXISTS roll_up_jobs(integer);
DROP FUNCTION IF EXISTS finished_jobs(timestamptz);
DROP FUNCTION IF EXISTS job_trends(interval, interval);
DROP FUNCTION IF EXISTS queue_depths();
DROP FUNCTION IF EXISTS get_queue_metrics(text);
DROP FUNCTION IF EXISTS calculate_error_rate(interval);
DROP FUNCTION IF EXISTS detect_stuck_jobs(integer);

DROP INDEX IF EXISTS analysis_jobs_by_failure;
DROP TABLE IF EXISTS job_rollup_marks;
DROP TABLE IF EXISTS job_rollups;

ALTER TABLE schema_info
    DROP COLUMN IF EXISTS rolled_up_until,
    DROP COLUMN IF EXISTS round_due_at,
    DROP COLUMN IF EXISTS round_until;
