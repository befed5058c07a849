"""What a worker has counted since it started, to be read by whoever exports numbers."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from wastewise_jobs.jobs.model import ClaimedJob

# Upper bounds in seconds, from a no-op to an hour; what is longer goes into one more bin.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


class Histogram:
    """Durations by bin. Cheap enough for every job."""

    __slots__ = ("counts", "total_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total_seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total_seconds += seconds


@dataclass(slots=True)
class WorkerStats:
    """Totals since the start; `stuck` is how many handlers do not end at this moment.

    `wait_seconds` are the times from creation to the claim of a first attempt, `run_seconds` those
    of attempts that completed, failed or are to be repeated.
    """

    claimed: int = 0
    completed: int = 0
    retried: int = 0
    failed: int = 0
    cancelled: int = 0
    released: int = 0
    rescued: int = 0
    lease_lost: int = 0
    not_storable: int = 0
    timeouts: int = 0
    claim_errors: int = 0
    heartbeat_errors: int = 0
    stuck: int = 0
    longest_loop_lag_seconds: float = 0.0
    completed_by_type: Counter[str] = field(default_factory=Counter)
    failed_by_type: Counter[str] = field(default_factory=Counter)
    retried_by_type: Counter[str] = field(default_factory=Counter)
    cancelled_by_type: Counter[str] = field(default_factory=Counter)
    retried_by_kind: Counter[str] = field(default_factory=Counter)
    wait_seconds: defaultdict[str, Histogram] = field(
        default_factory=lambda: defaultdict(Histogram)
    )
    run_seconds: defaultdict[str, Histogram] = field(default_factory=lambda: defaultdict(Histogram))

    def claimed_jobs(self, jobs: Iterable[ClaimedJob]) -> None:
        """Count them, and how long they waited."""
        waits = self.wait_seconds
        for job in jobs:
            self.claimed += 1
            # A later attempt has waited for its retry as well, on purpose.
            if not job.retry_count and not job.crash_count:
                waits[job.job_type].observe(job.waited_seconds)
