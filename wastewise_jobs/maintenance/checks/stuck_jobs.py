"""Jobs that have been processing for too long, or past their own timeout and still alive."""

from wastewise_jobs.maintenance.check import Check

# A minute after its timeout a job of our workers has been settled, or rescued.
_STATEMENT = """
WITH stuck AS MATERIALIZED (
    SELECT
        'job_stuck:' || j.id::text AS fingerprint,
        j.id,
        left(j.job_type, 255) AS job_type,
        left(j.worker_id, 255) AS worker_id,
        j.user_id,
        public.readable_time(j.started_at) AS started_at,
        j.timeout_seconds,
        round(u.minutes) AS minutes
    FROM (
        SELECT s.job_id, s.duration_minutes::numeric AS minutes
        FROM public.detect_stuck_jobs($1::integer) s
        UNION
        SELECT s.job_id, s.duration_minutes::numeric
        FROM public.detect_stuck_jobs(0) s
        JOIN public.analysis_jobs a ON a.id = s.job_id
        WHERE s.duration_minutes::numeric * 60.0 > a.timeout_seconds::numeric + 60.0
    ) AS u
    JOIN public.analysis_jobs j ON j.id = u.job_id
),
raised AS (
    SELECT public.raise_alert(
        o.fingerprint,
        'job_stuck'::text,
        'warning'::text,
        o.job_type || ' has been processing for ' || CASE
            WHEN o.minutes < 120.0 THEN o.minutes::text || ' min'
            WHEN o.minutes < 2880.0 THEN floor(o.minutes / 60.0)::text || ' h'
            ELSE floor(o.minutes / 1440.0)::text || ' d'
        END,
        jsonb_build_object(
            'job_type', o.job_type,
            'worker_id', o.worker_id,
            'user_id', o.user_id,
            'started_at', o.started_at,
            'timeout_seconds', o.timeout_seconds
        ),
        o.id,
        0::bigint
    ) AS alert_id
    -- The longest ones. Where hundreds are stuck, more mails say nothing new.
    FROM (
        SELECT l.*
        FROM (SELECT s.* FROM stuck s ORDER BY s.started_at, s.id LIMIT 100) AS l
        ORDER BY l.fingerprint
    ) AS o
),
resolved AS (
    SELECT public.resolve_alerts(
        array_agg(a.fingerprint ORDER BY a.fingerprint), 'check'::text
    ) AS alerts
    FROM public.job_alerts a
    WHERE a.alert_type = 'job_stuck'
      AND a.resolved_at IS NULL
      -- Those belong to another check.
      AND NOT starts_with(a.fingerprint, 'job_stuck:unserved:')
      AND a.fingerprint NOT IN (SELECT s.fingerprint FROM stuck s)
    HAVING count(*) > 0
)
SELECT
    (SELECT count(r.alert_id) FROM raised r) AS stuck,
    (SELECT coalesce(sum(r.alerts), 0)::bigint FROM resolved r) AS resolved
"""


def stuck_jobs(threshold_minutes: int) -> Check:
    """Raises job_stuck for each, and resolves it when the job processes no more."""
    return Check("stuck_jobs", _STATEMENT, (threshold_minutes,))
