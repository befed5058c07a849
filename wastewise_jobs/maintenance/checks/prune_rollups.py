"""Deletes rollups that nobody reads any more, in small batches."""

from wastewise_jobs.maintenance.check import Check

_STATEMENT = "SELECT public.prune_rollups(1000) AS pruned"


def prune_rollups() -> Check:
    """Minutes are kept for days, quarters of an hour for a year."""
    return Check("prune_rollups", _STATEMENT, in_steps=True)
