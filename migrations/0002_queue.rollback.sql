-- Triggers and functions first: they speak of the tables. They were made after the numbered
-- migrations and go with the queue.
DROP TRIGGER IF EXISTS wastewise_fill_inserted ON analysis_jobs;
DROP TRIGGER IF EXISTS wastewise_json_written ON analysis_jobs;
DROP TRIGGER IF EXISTS wastewise_fence_updated ON analysis_jobs;
DROP TRIGGER IF EXISTS wastewise_follow_inserted ON analysis_jobs;
DROP TRIGGER IF EXISTS wastewise_follow_updated ON analysis_jobs;
DROP TRIGGER IF EXISTS wastewise_follow_deleted ON analysis_jobs;
DROP TRIGGER IF EXISTS wastewise_follow_truncate ON analysis_jobs;

DO $$
DECLARE
    _function text;
BEGIN
    FOR _function IN
        SELECT p.oid::regprocedure::text
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
          AND p.proname IN (
              'is_analysis', 'is_first_analysis', 'default_job_priority', 'job_priority_reason',
              'assign_job_priority', 'enqueue_jobs', 'stuck_threshold', 'promote_due_jobs',
              'seconds_until_due', 'seconds_until_rescue', 'queued_kinds', 'claim_jobs', 'get_next_job', 'heartbeat_jobs',
              'progress_jobs', 'mirror_jobs_to_projects', 'complete_jobs', 'retry_delay',
              'with_error', 'retry_jobs', 'fail_jobs', 'release_jobs', 'cancel_running_jobs',
              'cancel_job', 'requeue_job', 'schedule_job_retry', 'queue_jobs', 'rescue_jobs',
              'repair_job_queue', 'prune_jobs', 'cleanup_old_analysis_jobs', 'fill_inserted_job',
              'refuse_huge_json', 'fence_updated_job', 'follow_job', 'empty_job_queue')
    LOOP
        EXECUTE 'DROP FUNCTION ' || _function;
    END LOOP;
END
$$;

DROP TABLE IF EXISTS job_workers;
DROP TABLE IF EXISTS job_types;
DROP TABLE IF EXISTS job_queue;

UPDATE schema_info SET schema_version = 0, post_apply_hash = NULL;
