"""Workers that are registered and not heard of: they neither stopped in good order nor live."""

from datetime import timedelta

from wastewise_jobs.maintenance.check import Check

# Whoever resolves the alert of a worker that stays silent has dismissed it: its row goes. So does
# that of a worker that everybody has forgotten for a week. Who calls get_next_job no more is not
# missed: it may have been a script.
_STATEMENT = """
WITH silent AS MATERIALIZED (
    SELECT
        w.*,
        'worker_down:' || w.worker_id AS fingerprint,
        w.last_heartbeat_at < now() - interval '7 days' OR EXISTS (
            SELECT
            FROM public.job_alerts a
            WHERE a.created_at > w.last_heartbeat_at
              AND a.fingerprint = 'worker_down:' || w.worker_id
              AND a.resolved_at IS NOT NULL
        ) AS dismissed
    FROM public.job_workers w
    WHERE w.last_heartbeat_at < now() - $1::interval
      AND w.kind = 'worker'
),
forgotten AS (
    DELETE FROM public.job_workers w
    WHERE w.worker_id = ANY (ARRAY (
        SELECT e.worker_id
        FROM public.job_workers e
        WHERE e.kind = 'external'
          AND e.last_heartbeat_at < now() - interval '1 day'
        ORDER BY e.worker_id
        -- One that is back may be in a transaction of hours.
        FOR UPDATE SKIP LOCKED
    ))
),
gone AS (
    DELETE FROM public.job_workers w
    USING silent s
    WHERE w.worker_id = s.worker_id
      AND w.last_heartbeat_at = s.last_heartbeat_at
      AND s.dismissed
    RETURNING w.worker_id
),
raised AS (
    SELECT public.raise_alert(
        o.fingerprint,
        'worker_down'::text,
        'critical'::text,
        'worker ' || o.name || ' on ' || o.host || ' sends no heartbeat',
        jsonb_build_object(
            'worker_id', o.worker_id,
            'host', o.host,
            'pid', o.pid,
            'version', o.version,
            'running', o.running,
            'last_heartbeat_at', o.last_heartbeat_at
        ),
        NULL::uuid,
        0::bigint
    ) AS alert_id
    FROM (SELECT s.* FROM silent s WHERE NOT s.dismissed ORDER BY s.fingerprint) AS o
),
resolved AS (
    SELECT public.resolve_alerts(
        array_agg(a.fingerprint ORDER BY a.fingerprint), 'check'::text
    ) AS alerts
    FROM public.job_alerts a
    WHERE a.alert_type = 'worker_down'
      AND a.resolved_at IS NULL
      AND a.fingerprint NOT IN (SELECT s.fingerprint FROM silent s WHERE NOT s.dismissed)
    HAVING count(*) > 0
)
SELECT
    (SELECT count(r.alert_id) FROM raised r) AS silent,
    (SELECT coalesce(sum(r.alerts), 0)::bigint FROM resolved r) AS resolved,
    (SELECT count(*) FROM gone) AS dismissed
"""


def silent_workers(silent_after: timedelta) -> Check:
    """Raises worker_down for each, and resolves it when it comes back or is dismissed."""
    return Check("silent_workers", _STATEMENT, (silent_after,))
