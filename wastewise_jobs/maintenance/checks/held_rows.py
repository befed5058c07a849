"""Rows that pruning passes over, because somebody else's foreign key or trigger keeps them."""

from wastewise_jobs.maintenance.check import Check
from wastewise_jobs.maintenance.store import HELD


def held_rows() -> Check:
    """Counts them; the log line is the point."""
    return Check("held_rows", HELD, loud=True)
