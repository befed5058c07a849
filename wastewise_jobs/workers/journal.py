"""What becomes of jobs in this worker, as events, told once each to whoever counts or logs them.

What happens to many at once is one event: its cost is that of a batch, not of a job.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from wastewise_jobs.jobs.model import ClaimedJob, RescuedJob
from wastewise_jobs.jobs.outcome import Failed, RetryLater
from wastewise_jobs.workers.run import Run


@dataclass(frozen=True, slots=True)
class JobsClaimed:
    """They are this worker's."""

    jobs: Sequence[ClaimedJob]


@dataclass(frozen=True, slots=True)
class JobsCompleted:
    """Their completion is durable, since `at` in monotonic seconds."""

    runs: Sequence[Run]
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class JobRetryScheduled:
    """It waits for its next attempt."""

    run: Run
    outcome: RetryLater
    retry_after: datetime | None
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class JobFailed:
    """It is a dead letter."""

    run: Run
    outcome: Failed
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class JobCancelled:
    """It ended because somebody asked for it."""

    run: Run


@dataclass(frozen=True, slots=True)
class JobReleased:
    """It was given back."""

    run: Run


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Another worker has the job, or somebody finished it by hand: our outcome was dropped."""

    run: Run


@dataclass(frozen=True, slots=True)
class OutcomeRefused:
    """PostgreSQL cannot store it: it gave way to an outcome that says so."""

    run: Run


@dataclass(frozen=True, slots=True)
class RunTimedOut:
    """It did not end within its job type's timeout."""

    run: Run


@dataclass(frozen=True, slots=True)
class HandlerStuck:
    """It did not end when it was stopped."""

    run: Run


@dataclass(frozen=True, slots=True)
class StuckHandlerEnded:
    """It ended after all."""

    run: Run


@dataclass(frozen=True, slots=True)
class JobsRescued:
    """They were taken from workers that are gone."""

    jobs: Sequence[RescuedJob]


# How runs came out; then what happens besides.
Settled: TypeAlias = (
    JobsCompleted | JobRetryScheduled | JobFailed | JobCancelled | JobReleased | LeaseLost
)
Noted: TypeAlias = (
    JobsClaimed | JobsRescued | RunTimedOut | HandlerStuck | StuckHandlerEnded | OutcomeRefused
)
Event: TypeAlias = Settled | Noted


class Journal:
    """Tells each event to all sinks, in turn; they return at once and do not raise."""

    def __init__(self, *sinks: Callable[[Event], None]) -> None:
        self._sinks = sinks

    def tell(self, event: Event) -> None:
        """From the loop whose runs it is about, or from whoever settles in its place."""
        for sink in self._sinks:
            sink(event)
