"""What may raise an alert, a module each; the chores of a round follow them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from wastewise_jobs.maintenance.check import Check
from wastewise_jobs.maintenance.checks.error_rate import error_rate
from wastewise_jobs.maintenance.checks.silent_workers import silent_workers
from wastewise_jobs.maintenance.checks.stuck_jobs import stuck_jobs
from wastewise_jobs.maintenance.checks.unserved_work import unserved_work
from wastewise_jobs.maintenance.chores import chores


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From when on something is worth an alert, and how long finished jobs are kept."""

    stuck_minutes: int = 30
    error_rate: float = 0.10
    error_rate_jobs: int = 10
    silent_worker: timedelta = timedelta(minutes=5)
    retention: timedelta = timedelta(days=30)


def all_checks(thresholds: Thresholds) -> Sequence[Check]:
    return (
        stuck_jobs(thresholds.stuck_minutes),
        silent_workers(thresholds.silent_worker),
        unserved_work(thresholds.silent_worker, thresholds.stuck_minutes),
        error_rate(thresholds.error_rate, thresholds.error_rate_jobs),
        *chores(thresholds.retention),
    )
