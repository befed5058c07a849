"""Deletes alerts that were resolved longer ago than the retention, in small batches."""

from datetime import timedelta

from wastewise_jobs.maintenance.check import Check

_STATEMENT = "SELECT public.prune_alerts($1::interval, 1000) AS pruned"


def prune_alerts(retention: timedelta) -> Check:
    """Their history and deliveries go with them."""
    return Check("prune_alerts", _STATEMENT, (retention,), in_steps=True)
