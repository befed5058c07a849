"""Due jobs that no live worker carries: a misspelt type, a worker that was not deployed."""

from datetime import timedelta

from wastewise_jobs.maintenance.check import Check

# Resolved by its own look, whatever is due: the kinds are hopped over, never the jobs.
_STATEMENT = """
WITH left_alone AS MATERIALIZED (
    SELECT
        u.*,
        'job_stuck:unserved:' || left(u.queue, 100) || ':' || left(u.job_type, 100) AS fingerprint
    FROM public.unserved_kinds($1::interval, make_interval(mins => $2)) u
),
raised AS (
    SELECT public.raise_alert(
        o.fingerprint,
        'job_stuck'::text,
        'warning'::text,
        o.says,
        jsonb_build_object(
            'cause', 'unserved',
            'job_type', left(o.job_type, 100),
            'queue', left(o.queue, 100),
            'due_since', o.due_since
        ),
        o.job_id,
        0::bigint
    ) AS alert_id
    -- The longest ones. Where hundreds are left alone, more mails say nothing new.
    FROM (
        SELECT l.*
        FROM (SELECT a.* FROM left_alone a ORDER BY a.due_since, a.fingerprint LIMIT 100) AS l
        ORDER BY l.fingerprint
    ) AS o
),
resolved AS (
    SELECT public.resolve_alerts(array_agg(a.fingerprint ORDER BY a.fingerprint), 'check'::text)
        AS alerts
    FROM public.job_alerts a
    WHERE a.alert_type = 'job_stuck'
      AND a.resolved_at IS NULL
      AND starts_with(a.fingerprint, 'job_stuck:unserved:')
      AND a.fingerprint NOT IN (SELECT l.fingerprint FROM left_alone l)
    HAVING count(*) > 0
)
SELECT
    (SELECT count(r.alert_id) FROM raised r) AS unserved,
    (SELECT coalesce(sum(r.alerts), 0)::bigint FROM resolved r) AS resolved,
    (
        SELECT string_agg(s.says, ', ' ORDER BY s.due_since)
        FROM (SELECT l.says, l.due_since FROM left_alone l ORDER BY l.due_since LIMIT 10) AS s
    ) AS says
"""


def unserved_work(silent_after: timedelta, threshold_minutes: int) -> Check:
    """Raises job_stuck for each kind, and resolves it when it is carried or gone."""
    return Check("unserved_work", _STATEMENT, (silent_after, threshold_minutes), loud=True)
