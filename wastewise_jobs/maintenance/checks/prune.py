"""Deletes finished jobs that are older than the retention, in small batches."""

from datetime import timedelta

from wastewise_jobs.maintenance.check import Check

# Not before the rollups have counted what is to go.
_STATEMENT = """
SELECT public.prune_jobs($1::interval, 1000) AS pruned
FROM public.schema_info
WHERE rolled_up_until > now() - $1::interval
"""


def prune(retention: timedelta) -> Check:
    """What `cleanup_old_analysis_jobs` does, a batch at a time."""
    return Check("prune", _STATEMENT, (retention,), in_steps=True)
