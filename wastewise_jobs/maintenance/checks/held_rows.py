"""Rows that pruning passes over, because somebody else's foreign key or trigger keeps them."""

from wastewise_jobs.maintenance.check import Check

_STATEMENT = """
SELECT count(*) AS held, max(h.reason) AS says
FROM (
    SELECT p.reason
    FROM public.job_prune_holds p
    WHERE p.held_at > now() - interval '1 day'
    LIMIT 10000
) AS h
"""


def held_rows() -> Check:
    """Counts them; the log line is the point."""
    return Check("held_rows", _STATEMENT, loud=True)
