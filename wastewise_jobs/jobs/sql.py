"""The statements of the job store, as constants: a test prepares every one of them.

Transitions are SQL functions of the migrations; here they are only called.
"""

# The parameters of enqueue_jobs behind id, job type and input, by their names in NewJob and in its
# order.
OPTIONAL_COLUMNS = {
    "user_id": "uuid",
    "project_id": "uuid",
    "priority": "integer",
    "priority_reason": "text",
    "queue": "text",
    "max_retries": "integer",
    "timeout_seconds": "double precision",
    "run_at": "timestamptz",
    "idempotency_key": "text",
    "idempotency_hash": "bytea",
    "delay_seconds": "double precision",
}

_COLUMNS = ("uuid", "text", "text", *OPTIONAL_COLUMNS.values())
_ENQUEUED = "public.enqueue_jobs({})".format(
    ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(_COLUMNS, 1))
)

ENQUEUE = """
SELECT position, id, status, priority, priority_reason, created_at, disposition
FROM :enqueued
""".replace(":enqueued", _ENQUEUED)

# For jobs that differ in id and input alone: what they got in common, and which of them.
ENQUEUE_ALIKE = """
SELECT priority, priority_reason, created_at, array_agg(position) AS positions
FROM :enqueued
GROUP BY priority, priority_reason, created_at
""".replace(":enqueued", _ENQUEUED)

CLAIM = """
SELECT
    id, fence, job_type, queue, user_id, project_id, input_data, retry_count, max_retries,
    crash_count, timeout_seconds, priority, created_at, waited_seconds
FROM public.claim_jobs($1::text, $2::text[], $3::text[], $4::integer, $5::interval, $6::boolean)
"""

HEARTBEAT = """
SELECT id, held, cancel_requested
FROM public.heartbeat_jobs($1::uuid[], $2::bigint[], $3::interval)
"""

PROGRESS = """
SELECT public.progress_jobs(
    $1::uuid[], $2::bigint[], $3::integer[], $4::text[], $5::integer[], $6::integer[]
)
"""

COMPLETE = """
SELECT public.complete_jobs(
    $1::uuid[], $2::bigint[], $3::text[], $4::integer[], $5::bigint[], $6::bigint[], $7::numeric[]
)
"""

# Completion leaves the fence as it is: whoever writes the status after it raises it.
COMPLETED_UNDER = """
SELECT j.id
FROM unnest($1::uuid[], $2::bigint[]) AS g (id, fence)
JOIN public.analysis_jobs j ON j.id = g.id
WHERE j.id = ANY ($1::uuid[])
  AND j.fence = g.fence
  AND j.status = 'completed'
"""

RETRY = """
SELECT id, settled, retry_after
FROM public.retry_jobs(
    $1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
    $7::double precision[]
)
"""

FAIL = """
SELECT public.fail_jobs($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])
"""

RELEASE = "SELECT public.release_jobs($1::uuid[], $2::bigint[])"

# Each leased job's worker is looked up by key, whatever the planner believes.
RELEASE_UNKNOWN = """
SELECT public.release_jobs(u.ids, u.fences)
FROM (
    SELECT array_agg(q.id) AS ids, array_agg(q.fence) AS fences
    FROM public.job_queue q
    CROSS JOIN LATERAL (
        SELECT a.worker_id
        FROM public.analysis_jobs a
        WHERE a.id = q.id
        OFFSET 0
    ) AS j
    WHERE q.leased
      AND ($2::text[] IS NULL OR q.queue = ANY ($2))
      AND q.job_type = ANY ($3::text[])
      AND NOT EXISTS (
          SELECT
          FROM unnest($4::uuid[], $5::bigint[]) AS k (id, fence)
          WHERE k.id = q.id
            AND k.fence = q.fence
      )
      AND j.worker_id = $1
) AS u
WHERE u.ids IS NOT NULL
"""

CANCEL_RUNNING = "SELECT public.cancel_running_jobs($1::uuid[], $2::bigint[])"

# One row at least: what an idle worker must know, in one statement.
POLL = """
SELECT
    d.due_in, d.expires_in, d.queues, d.job_types,
    r.id, r.job_type, r.worker_id, r.crash_count, r.settled
FROM (
    SELECT
        public.seconds_until_due() AS due_in,
        public.seconds_until_rescue() AS expires_in,
        k.queues,
        k.job_types
    FROM (
        SELECT array_agg(q.queue) AS queues, array_agg(q.job_type) AS job_types
        FROM public.queued_kinds() q
    ) AS k
) AS d
LEFT JOIN LATERAL public.rescue_jobs($1::integer) AS r ON true
"""

FOREIGN = "SELECT foreign_writer FROM public.analysis_jobs WHERE id = $1"

PRUNE = "SELECT public.prune_jobs($1::interval, $2::integer)"

# Whoever is cut off in the middle of the transaction must not keep the row from a rescue for longer
# than a lease.
HOLD = """
SELECT set_config('idle_in_transaction_session_timeout', $3::text, true)
FROM public.analysis_jobs
WHERE id = $1
  AND fence = $2
  AND status = 'processing'
FOR NO KEY UPDATE
"""

# A user who does not own the job learns nothing, not even that it exists.
CANCEL = """
SELECT public.cancel_job(id)
FROM public.analysis_jobs
WHERE id = $1
  AND ($2::uuid IS NULL OR user_id = $2)
"""

REQUEUE = """
SELECT public.requeue_job(id)
FROM public.analysis_jobs
WHERE id = $1
  AND ($2::uuid IS NULL OR user_id = $2)
"""

# What a reader sees of a job, whatever its row holds: a value that cannot be read is null, and a
# text is read up to a length. JSON is read as text and decoded row by row.
_VIEW = """
SELECT
    id, user_id, project_id,
    left(job_type, 255) AS job_type,
    left(queue, 255) AS queue,
    CASE
        WHEN status IN ('pending', 'processing', 'completed', 'failed', 'cancelled') THEN status
        ELSE 'failed'
    END AS status,
    priority,
    left(priority_reason, :longest) AS priority_reason,
    coalesce(progress_percent, 0) AS progress_percent,
    left(current_step, :longest) AS current_step,
    coalesce(steps_completed, 0) AS steps_completed,
    total_steps,
    public.readable_time(created_at) AS created_at,
    public.readable_time(started_at) AS started_at,
    public.readable_time(completed_at) AS completed_at,
    public.readable_time(estimated_completion) AS estimated_completion,
    CASE
        WHEN duration_seconds::numeric BETWEEN -1e15 AND 1e15
            THEN duration_seconds::double precision
    END AS duration_seconds,
    public.readable_time(retry_after) AS retry_after,
    left(error_message, :longest) AS error_message,
    left(error_code, :longest) AS error_code,
    public.json_text(error_details, :most) AS error_details_json,
    retry_count, max_retries, crash_count,
    coalesce(ai_requests, 0) AS ai_requests,
    coalesce(ai_tokens_input, 0) AS ai_tokens_input,
    coalesce(ai_tokens_output, 0) AS ai_tokens_output,
    CASE
        WHEN ai_cost_usd IS NULL THEN 0
        WHEN ai_cost_usd::numeric BETWEEN -1e15 AND 1e15 THEN ai_cost_usd::double precision
    END AS ai_cost_usd,
    left(worker_id, :longest) AS worker_id,
    public.readable_time(cancel_requested_at) AS cancel_requested_at,
    public.readable_time(updated_at) AS updated_at,
"""
_WHOLE = _VIEW.replace(":longest", "10000").replace(":most", "1048576")
_LISTED = _VIEW.replace(":longest", "500").replace(":most", "20000")

# The last hundred attempts. Lists are read without them.
_ATTEMPTS = """
    public.json_text(
        CASE
            WHEN jsonb_typeof(retry_error_log) <> 'array' THEN '[]'
            WHEN jsonb_array_length(retry_error_log) > 100
                THEN jsonb_path_query_array(retry_error_log, '$[last - 99 to last]')
            ELSE retry_error_log
        END,
        4194304
    ) AS retry_errors_json,
"""

# Results may be large: only GET brings them.
GET = (
    _WHOLE
    + _ATTEMPTS
    + """    public.json_text(result_data, 16777216) AS result_json
FROM public.analysis_jobs
WHERE id = $1
  AND ($2::uuid IS NULL OR user_id = $2)
"""
)

# Many jobs at once bring no text of megabytes: whoever wants those looks at the job.
VIEWS = (
    _WHOLE.replace("1048576", "65536")
    + _ATTEMPTS.replace("4194304", "65536")
    + """    NULL::text AS result_json
FROM public.analysis_jobs
WHERE id = ANY ($1::uuid[])
"""
)

_LIST = (
    _LISTED
    + """    NULL::text AS retry_errors_json, NULL::text AS result_json
FROM public.analysis_jobs
"""
)

# A row whose time no reader can hold is a place in a list too: it says itself what its time is. The
# order is that of the table, not of what is shown.
_FILTERS = """
  AND ($1::text[] IS NULL OR status = ANY ($1))
  AND ($2::text IS NULL OR job_type = $2)
  AND ($3::uuid IS NULL OR project_id = $3)
  AND ($5::uuid IS NULL OR (created_at, id) < (
      coalesce($4::timestamptz, (
          SELECT b.created_at
          FROM public.analysis_jobs b
          WHERE b.id = $5
            AND public.readable_time(b.created_at) IS NULL
      )),
      $5
  ))
ORDER BY analysis_jobs.created_at DESC, analysis_jobs.id DESC
LIMIT $6
"""

# Two statements, because one with an optional user could not count on the user's index.
LIST_OF_USER = _LIST + "WHERE user_id = $7" + _FILTERS
LIST_ALL = _LIST + "WHERE true" + _FILTERS

REGISTER_TYPE = """
INSERT INTO public.job_types (
    job_type, queue, priority, timeout_seconds, max_retries, run_in, description, input_schema,
    needs_project, refusal, admin_only
)
SELECT
    t.job_type, t.queue, t.priority, t.timeout_seconds, t.max_retries, t.run_in, t.description,
    t.input_schema::jsonb, t.needs_project, t.refusal, t.admin_only
FROM unnest(
    $1::text[], $2::text[], $3::integer[], $4::double precision[], $5::integer[], $6::text[],
    $7::text[], $8::text[], $9::boolean[], $10::text[], $11::boolean[]
) AS t (
    job_type, queue, priority, timeout_seconds, max_retries, run_in, description, input_schema,
    needs_project, refusal, admin_only
)
ON CONFLICT (job_type) DO UPDATE
SET queue = EXCLUDED.queue,
    priority = EXCLUDED.priority,
    timeout_seconds = EXCLUDED.timeout_seconds,
    max_retries = EXCLUDED.max_retries,
    run_in = EXCLUDED.run_in,
    description = EXCLUDED.description,
    input_schema = EXCLUDED.input_schema,
    needs_project = EXCLUDED.needs_project,
    refusal = EXCLUDED.refusal,
    admin_only = EXCLUDED.admin_only,
    registered_at = now(),
    retired_at = NULL
"""

RETIRE_TYPE = (
    "UPDATE public.job_types SET retired_at = now() WHERE job_type = $1 AND retired_at IS NULL"
)

TYPES = """
SELECT
    job_type, queue, priority, timeout_seconds, max_retries, run_in, description, input_schema,
    needs_project, refusal, admin_only
FROM public.job_types
WHERE retired_at IS NULL
ORDER BY job_type
"""
