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
RESOLVE_SETTLED = "SELECT public.resolve_failed_alerts()"
PLAN = "SELECT public.plan_alert_deliveries($1::text[], $2::text[], $3::interval)"
CLAIM = """
SELECT c.alert_id, c.fence, c.round, c.notice, c.digest
FROM public.claim_alert_deliveries($1::text, $2::integer, $3::interval, $4::interval) c
"""
RECORD = """
SELECT r.alert_id, r.status
FROM public.record_alert_deliveries(
    $1::text, $2::uuid[], $3::bigint[], $4::text, $5::boolean, $6::double precision
) r
"""
LINK_KEY = "SELECT link_key FROM public.schema_info"
