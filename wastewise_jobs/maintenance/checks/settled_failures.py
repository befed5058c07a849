"""Alerts whose failed jobs have all been requeued and completed, or discarded."""

from wastewise_jobs.maintenance.check import Check

_STATEMENT = "SELECT public.resolve_failed_alerts() AS resolved"


def settled_failures() -> Check:
    return Check("settled_failures", _STATEMENT)
