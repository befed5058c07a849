"""Counts what finished since the last round into the rollups."""

from wastewise_jobs.maintenance.check import Check

_STATEMENT = "SELECT public.roll_up_jobs() AS more"


def roll_up() -> Check:
    """In steps, so that a backlog of millions holds nothing for long."""
    return Check("roll_up", _STATEMENT, in_steps=True)
