"""The statements of the alert store."""

_ALERT = """
SELECT
    a.id,
    a.job_id,
    a.alert_type,
    a.severity,
    CASE
        WHEN a.resolved_at IS NOT NULL THEN 'resolved'
        WHEN a.snoozed_until > now() THEN 'snoozed'
        WHEN a.acknowledged_at IS NOT NULL THEN 'acknowledged'
        ELSE 'open'
    END AS status,
    a.message,
    coalesce(a.details, '{}') AS details,
    a.occurrences,
    a.created_at,
    a.last_seen_at,
    a.notified_at,
    CASE WHEN jsonb_typeof(a.notification_channels) = 'array' THEN a.notification_channels
         ELSE '[]' END AS channels,
    ARRAY (
        SELECT d.channel
        FROM public.job_alert_deliveries d
        WHERE d.alert_id = a.id
          AND d.status = 'undelivered'
        ORDER BY d.channel
    ) AS undelivered,
    a.acknowledged_at,
    a.acknowledged_by,
    a.acknowledged_note,
    a.snoozed_until,
    a.resolved_at
FROM public.job_alerts a
"""

BY_ID = _ALERT + "WHERE a.id = ANY ($1) ORDER BY a.created_at, a.id"

_WANTED = """
WHERE (a.created_at, a.id) < (coalesce($1, 'infinity'::timestamptz),
                              coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))
  AND (cardinality($3::text[]) = 0 OR CASE
        WHEN a.resolved_at IS NOT NULL THEN 'resolved'
        WHEN a.snoozed_until > now() THEN 'snoozed'
        WHEN a.acknowledged_at IS NOT NULL THEN 'acknowledged'
        ELSE 'open'
    END = ANY ($3))
  AND ($4::text IS NULL OR a.alert_type = $4)
  AND ($5::text IS NULL OR a.severity = $5)
  AND ($6::uuid IS NULL OR a.job_id = $6 OR EXISTS (
      SELECT 1
      FROM public.job_alert_jobs c
      WHERE c.job_id = $6
        AND c.alert_id = a.id
  ))
ORDER BY a.created_at DESC, a.id DESC
LIMIT $7
"""

LIST = _ALERT + _WANTED

# For one of the alert's jobs, and for no other.
JOB = """
SELECT
    j.id, j.job_type, j.status, j.queue, j.priority, j.retry_count, j.max_retries, j.crash_count,
    j.progress_percent::double precision AS progress_percent,
    left(j.current_step, 300) AS current_step,
    left(j.error_code, 300) AS error_code,
    left(j.error_message, 5000) AS error_message,
    left(j.worker_id, 300) AS worker_id,
    j.user_id, j.project_id,
    -- What Python's calendar does not hold is not shown.
    CASE
        WHEN j.created_at BETWEEN '0001-01-02' AND '9999-12-30' THEN j.created_at
    END AS created_at,
    CASE
        WHEN j.started_at BETWEEN '0001-01-02' AND '9999-12-30' THEN j.started_at
    END AS started_at,
    CASE
        WHEN j.completed_at BETWEEN '0001-01-02' AND '9999-12-30' THEN j.completed_at
    END AS completed_at,
    CASE
        WHEN j.retry_after BETWEEN '0001-01-02' AND '9999-12-30' THEN j.retry_after
    END AS retry_after,
    j.duration_seconds::double precision AS duration_seconds
FROM public.analysis_jobs j
WHERE j.id = $2
  AND (EXISTS (SELECT FROM public.job_alerts a WHERE a.id = $1 AND a.job_id = j.id)
       OR EXISTS (
           SELECT FROM public.job_alert_jobs c WHERE c.alert_id = $1 AND c.job_id = j.id
       ))
"""

HISTORY = """
SELECT h.event, h.channel, h.actor, h.note, h.created_at
FROM public.job_alert_history h
WHERE h.alert_id = $1
ORDER BY h.created_at DESC, h.id
LIMIT 500
"""

ACKNOWLEDGE = "SELECT public.acknowledge_alert($1::uuid, $2::uuid, $3::text, $4::text)"
SNOOZE = "SELECT public.snooze_alert($1::uuid, $2::timestamptz, $3::text, $4::text)"
RESOLVE = "SELECT public.resolve_alert($1::uuid, $2::text, $3::text)"
PLAN = "SELECT public.plan_alert_deliveries($1::text[], $2::text[], $3::interval)"
CLAIM = """
SELECT c.alert_id, c.fence, c.round, c.notice, c.digest
FROM public.claim_alert_deliveries($1::text, $2::integer, $3::interval, $4::interval) c
"""
RECORD = """
SELECT r.alert_id, r.status
FROM public.record_alert_deliveries(
    $1::text, $2::uuid[], $3::bigint[], $4::text, $5::boolean, $6::double precision, $7::text
) r
"""
UNDELIVERED = "SELECT public.undelivered_alerts() AS undelivered"
LINK_KEY = "SELECT link_key FROM public.schema_info"
