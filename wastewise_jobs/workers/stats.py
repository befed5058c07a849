"""What a worker has counted since it started, to be read by whoever exports numbers."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from wastewise_jobs.jobs.model import ClaimedJob
from wastewise_jobs.workers.journal import (
    Event,
    HandlerStuck,
    JobCancelled,
    JobFailed,
    JobReleased,
    JobRetryScheduled,
    JobsClaimed,
    JobsCompleted,
    JobsRescued,
    LeaseLost,
    Noted,
    OutcomeRefused,
    RunTimedOut,
    Settled,
    StuckHandlerEnded,
)
from wastewise_jobs.workers.run import Run

# Upper bounds in seconds, from a no-op to an hour; what is longer goes into one more bin.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


class Histogram:
    """Durations by bin. Cheap enough for every job."""

    __slots__ = ("counts", "total_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total_seconds = 0.0

    def observe(self, *seconds: float) -> None:
        """Count each."""
        counts = self.counts
        for each in seconds:
            counts[bisect_left(BOUNDS, each)] += 1
        self.total_seconds += sum(seconds)


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

    def take(self, event: Event) -> None:
        """Count it; a sink of the journal."""
        if isinstance(event, Settled):
            self._settled(event)
        else:
            self._noted(event)

    def _settled(self, event: Settled) -> None:
        match event:
            case JobsCompleted(runs, at):
                self.completed += len(runs)
                self._completed(runs, at)
            case JobRetryScheduled(run, outcome):
                self.retried += 1
                self.retried_by_type[run.job.job_type] += 1
                self.retried_by_kind[outcome.kind] += 1
                self._observe(run, event.at)
            case JobFailed(run):
                self.failed += 1
                self.failed_by_type[run.job.job_type] += 1
                self._observe(run, event.at)
            case JobCancelled(run):
                self.cancelled += 1
                self.cancelled_by_type[run.job.job_type] += 1
            case JobReleased():
                self.released += 1
            case LeaseLost():
                self.lease_lost += 1
            case _:
                assert_never(event)

    def _noted(self, event: Noted) -> None:
        match event:
            case JobsClaimed(jobs):
                self.claimed += len(jobs)
                self._observe_waits(jobs)
            case JobsRescued(jobs):
                self.rescued += len(jobs)
            case RunTimedOut():
                self.timeouts += 1
            case HandlerStuck():
                self.stuck += 1
            case StuckHandlerEnded():
                self.stuck -= 1
            case OutcomeRefused():
                self.not_storable += 1
            case _:
                assert_never(event)

    def _completed(self, runs: Sequence[Run], at: float) -> None:
        seconds: defaultdict[str, list[float]] = defaultdict(list)
        for run in runs:
            seconds[run.job.job_type].append(at - run.started)
        for job_type, durations in seconds.items():
            self.completed_by_type[job_type] += len(durations)
            self.run_seconds[job_type].observe(*durations)

    def _observe(self, run: Run, at: float) -> None:
        self.run_seconds[run.job.job_type].observe(at - run.started)

    def _observe_waits(self, jobs: Sequence[ClaimedJob]) -> None:
        waits = self.wait_seconds
        for job in jobs:
            # A later attempt has waited for its retry as well, on purpose.
            if not job.retry_count and not job.crash_count:
                waits[job.job_type].observe(job.waited_seconds)
