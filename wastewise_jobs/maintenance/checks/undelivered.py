"""Alerts that no attempt could deliver: said in the logs, and never by an alert about alerts."""

from wastewise_jobs.alerts.sql import UNDELIVERED
from wastewise_jobs.maintenance.check import Check


def undelivered() -> Check:
    """Counts them; the log line is the point."""
    return Check("undelivered", UNDELIVERED)
