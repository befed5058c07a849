"""Whether too many of the jobs that finished in the last hour failed."""

from wastewise_jobs.maintenance.check import Check

# `checks_under` is kept with the alert: at the second check in a row that finds the rate back under
# the threshold it resolves. Too few jobs to tell are under it as well.
_STATEMENT = """
WITH seen AS MATERIALIZED (
    SELECT
        f.failed,
        f.completed,
        public.error_rate(f.failed, f.completed) AS percent
    FROM public.finished_jobs(now() - interval '1 hour') f
),
high AS MATERIALIZED (
    SELECT s.*
    FROM seen s
    WHERE s.failed + s.completed >= $2
      AND s.percent > $1::double precision * 100::double precision
),
open AS MATERIALIZED (
    SELECT a.id, coalesce((a.details ->> 'checks_under'::text)::integer, 0) AS checks_under
    FROM public.job_alerts a
    WHERE a.fingerprint = 'high_error_rate'
      AND a.resolved_at IS NULL
),
raised AS (
    SELECT public.raise_alert(
        'high_error_rate'::text,
        'high_error_rate'::text,
        'critical'::text,
        round(h.percent::numeric, 1)::text
            || ' % of the jobs that finished in the last hour failed ('
            || to_char(h.failed, 'FM999,999,999,990') || ' of '
            || to_char(h.failed + h.completed, 'FM999,999,999,990') || ')',
        jsonb_build_object(
            'percent', h.percent,
            'failed', h.failed,
            'completed', h.completed,
            'threshold_percent', $1::double precision * 100::double precision,
            'checks_under', 0
        ),
        NULL::uuid,
        0::bigint
    ) AS alert_id
    FROM high h
),
under AS (
    UPDATE public.job_alerts a
    SET details = a.details || '{"checks_under": 1}'
    FROM open o
    WHERE a.id = o.id
      AND o.checks_under = 0
      AND NOT EXISTS (SELECT FROM high)
),
resolved AS (
    SELECT public.resolve_alerts(ARRAY['high_error_rate'::text], 'check'::text) AS alerts
    FROM open o
    WHERE o.checks_under > 0
      AND NOT EXISTS (SELECT FROM high)
)
SELECT
    (SELECT count(r.alert_id) FROM raised r) AS high,
    (SELECT coalesce(sum(r.alerts), 0)::bigint FROM resolved r) AS resolved
"""


def error_rate(threshold: float, least_jobs: int) -> Check:
    """Raises high_error_rate above the share `threshold` of at least `least_jobs` jobs."""
    return Check("error_rate", _STATEMENT, (threshold, least_jobs))
