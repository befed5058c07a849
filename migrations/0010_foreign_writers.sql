-- A database that others may write: what only the service may say, and rows within bounds.

ALTER TABLE schema_info
    -- Proves that a write is ours: only the owner reads it.
    ADD COLUMN transition_key text NOT NULL
        DEFAULT encode(sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')), 'hex');
ALTER TABLE schema_info ALTER COLUMN transition_key DROP DEFAULT;

ALTER TABLE analysis_jobs
    -- What the job is about was said by a writer to whom row level security applies.
    ADD COLUMN foreign_writer boolean NOT NULL DEFAULT false,
    -- A default would hide what the job type says: triggers fill in what is NULL.
    ALTER COLUMN priority DROP DEFAULT,
    ALTER COLUMN max_retries DROP DEFAULT;

-- The triggers of an earlier release leave what follows alone; repair_job_queue() comes last.
DO $$
BEGIN
    PERFORM set_config('wastewise.transition', 'on', true);
END
$$;

-- Who asked for these is not known. (For other types nobody asks.)
UPDATE analysis_jobs
SET foreign_writer = true
WHERE status IN ('pending', 'processing')
  AND user_id IS NOT NULL
  AND (job_type = 'cleanup' OR job_type IN (SELECT t.job_type FROM job_types t WHERE t.admin_only))
  AND (SELECT s.adopted FROM schema_info s);

-- What was written before the triggers kept it within these bounds.
DO $$
DECLARE
    _first constant timestamptz := '1970-01-01 00:00:00+00';
    _last constant timestamptz := '2999-12-31 00:00:00+00';
BEGIN
    UPDATE analysis_jobs
    SET fence = least(fence, 1000000000000000),
        created_at = CASE WHEN created_at IS NOT NULL THEN least(greatest(created_at, _first), _last) END,
        updated_at = CASE WHEN updated_at IS NOT NULL THEN least(greatest(updated_at, _first), _last) END,
        retry_after = CASE WHEN retry_after IS NOT NULL THEN least(greatest(retry_after, _first), _last) END,
        claimed_at = CASE WHEN claimed_at IS NOT NULL THEN least(greatest(claimed_at, _first), _last) END,
        started_at = CASE WHEN started_at IS NOT NULL THEN least(greatest(started_at, _first), _last) END,
        completed_at = CASE WHEN completed_at IS NOT NULL THEN least(greatest(completed_at, _first), _last) END,
        failed_at = CASE WHEN failed_at IS NOT NULL THEN least(greatest(failed_at, _first), _last) END,
        estimated_completion = CASE WHEN estimated_completion IS NOT NULL THEN least(greatest(estimated_completion, _first), _last) END,
        cancel_requested_at = CASE WHEN cancel_requested_at IS NOT NULL THEN least(greatest(cancel_requested_at, _first), _last) END,
        current_step = left(current_step, 1000),
        priority_reason = left(priority_reason, 200),
        worker_id = left(worker_id, 255),
        error_code = left(error_code, 200),
        error_message = left(error_message, 16384),
        idempotency_hash = substring(idempotency_hash, 1, 64),
        retry_count = least(greatest(retry_count, 0), 1000),
        crash_count = least(greatest(crash_count, 0), 1000),
        progress_percent = least(greatest(progress_percent, 0), 100),
        steps_completed = least(greatest(steps_completed, 0), 1e6),
        total_steps = CASE WHEN total_steps BETWEEN 0 AND 1e6 THEN total_steps END,
        duration_seconds = CASE WHEN duration_seconds BETWEEN 0 AND 1e9 THEN duration_seconds END,
        ai_requests = least(greatest(ai_requests, 0), 1e9),
        ai_tokens_input = least(greatest(ai_tokens_input, 0), 1e12),
        ai_tokens_output = least(greatest(ai_tokens_output, 0), 1e12),
        ai_cost_usd = least(greatest(nullif(ai_cost_usd, 'NaN'), 0), 999999.9999)
    WHERE fence > 1000000000000000
       OR least(created_at, updated_at, retry_after, claimed_at, started_at, completed_at, failed_at,
                estimated_completion, cancel_requested_at) < _first
       OR greatest(created_at, updated_at, retry_after, claimed_at, started_at, completed_at, failed_at,
                   estimated_completion, cancel_requested_at) > _last
       OR octet_length(current_step) > 1000
       OR octet_length(priority_reason) > 200
       OR octet_length(worker_id) > 255
       OR octet_length(error_code) > 200
       OR octet_length(error_message) > 16384
       OR octet_length(idempotency_hash) > 64
       OR retry_count > 1000
       OR crash_count > 1000
       OR progress_percent NOT BETWEEN 0 AND 100
       OR steps_completed NOT BETWEEN 0 AND 1e6
       OR total_steps NOT BETWEEN 0 AND 1e6
       OR duration_seconds NOT BETWEEN 0 AND 1e9
       OR ai_requests NOT BETWEEN 0 AND 1e9
       OR ai_tokens_input NOT BETWEEN 0 AND 1e12
       OR ai_tokens_output NOT BETWEEN 0 AND 1e12
       OR ai_cost_usd NOT BETWEEN 0 AND 999999.9999;

    UPDATE projects
    SET property_name = left(property_name, 200),
        city = left(city, 100),
        state = left(state, 50),
        property_type = left(property_type, 100),
        equipment_type = left(equipment_type, 100),
        error_message = left(error_message, 2000),
        progress = least(greatest(progress, 0), 100),
        total_savings = CASE WHEN total_savings BETWEEN -1e12 AND 1e12 THEN total_savings END,
        analysis_period_months =
            CASE WHEN analysis_period_months BETWEEN 0 AND 1200 THEN analysis_period_months END,
        created_at = CASE WHEN created_at IS NOT NULL THEN least(greatest(created_at, _first), _last) END,
        updated_at = CASE WHEN updated_at IS NOT NULL THEN least(greatest(updated_at, _first), _last) END
    WHERE octet_length(property_name) > 200
       OR octet_length(city) > 100
       OR octet_length(state) > 50
       OR octet_length(property_type) > 100
       OR octet_length(equipment_type) > 100
       OR octet_length(error_message) > 2000
       OR progress NOT BETWEEN 0 AND 100
       OR total_savings NOT BETWEEN -1e12 AND 1e12
       OR analysis_period_months NOT BETWEEN 0 AND 1200
       OR least(created_at, updated_at) < _first
       OR greatest(created_at, updated_at) > _last;

    UPDATE project_files
    SET file_name = left(file_name, 255),
        file_size = CASE WHEN file_size BETWEEN 0 AND 1e12 THEN file_size END,
        mime_type = left(mime_type, 255),
        storage_path = left(storage_path, 1024),
        processing_status = left(processing_status, 100),
        processing_error = left(processing_error, 2000),
        uploaded_at = CASE WHEN uploaded_at IS NOT NULL THEN least(greatest(uploaded_at, _first), _last) END
    WHERE octet_length(file_name) > 255
       OR file_size NOT BETWEEN 0 AND 1e12
       OR octet_length(mime_type) > 255
       OR octet_length(storage_path) > 1024
       OR octet_length(processing_status) > 100
       OR octet_length(processing_error) > 2000
       OR uploaded_at NOT BETWEEN _first AND _last;
END
$$;
