"""What the sinks of a worker's journal make of its events."""

import time
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from wastewise_jobs.jobs.failure_rules import DATABASE_UNAVAILABLE, FailureKind
from wastewise_jobs.jobs.model import ClaimedJob, JobId, RescuedAs, RescuedJob
from wastewise_jobs.jobs.outcome import Failed, RetryLater
from wastewise_jobs.workers.event_log import EventLog
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
    Journal,
    LeaseLost,
    OutcomeRefused,
    RunTimedOut,
    StuckHandlerEnded,
)
from wastewise_jobs.workers.run import NEVER, Run, StopReason
from wastewise_jobs.workers.stats import WorkerStats

CUT_OFF = RetryLater(DATABASE_UNAVAILABLE, "away", FailureKind.RETRYABLE)
ODD = RetryLater("ODD", "odd", FailureKind.UNKNOWN)
BAD = Failed("BAD", "bad", FailureKind.PERMANENT)
SLOW_SECONDS = 1000.0


def run(*, seconds: float = 0.0, stopped_for: StopReason | None = None) -> Run:
    job = ClaimedJob(
        id=JobId(uuid4()),
        fence=7,
        job_type="plain",
        queue="default",
        user_id=None,
        project_id=None,
        input_json="{}",
        retry_count=0,
        max_retries=3,
        crash_count=0,
        timeout_seconds=None,
        priority=5,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        waited_seconds=2.0,
    )
    nothing = cast("Any", None)
    made = Run(job, nothing, nothing, nothing, NEVER)
    made.started = time.monotonic() - seconds
    made.stopped_for = stopped_for
    return made


def rescued(settled: RescuedAs = RescuedAs.RESCUED) -> RescuedJob:
    return RescuedJob(JobId(uuid4()), "plain", "w-1", 1, settled)


def told(*events: Event) -> tuple[WorkerStats, list[str]]:
    """The counts, and the names of the lines but for those of debug."""
    stats, log = WorkerStats(), EventLog()
    journal = Journal(stats.take, log.take)
    with capture_logs() as lines:
        for event in events:
            journal.tell(event)
        log.summarize()
    return stats, [line["event"] for line in lines if line["log_level"] != "debug"]


@pytest.mark.parametrize(
    ("event", "counted", "lines"),
    [
        (JobsClaimed([run().job]), {"claimed": 1}, []),
        (JobsCompleted([run(), run()]), {"completed": 2}, ["jobs_completed"]),
        (JobsCompleted([run(seconds=SLOW_SECONDS)]), {"completed": 1}, ["job_completed"]),
        (JobRetryScheduled(run(), ODD, None), {"retried": 1}, ["job_retry_scheduled"]),
        (JobFailed(run(), BAD), {"failed": 1}, ["job_failed"]),
        (JobCancelled(run()), {"cancelled": 1}, ["job_cancelled"]),
        (JobReleased(run()), {"released": 1}, ["job_released"]),
        (LeaseLost(run()), {"lease_lost": 1}, ["job_lease_lost"]),
        (OutcomeRefused(run()), {"not_storable": 1}, []),
        (RunTimedOut(run()), {"timeouts": 1}, []),
        (HandlerStuck(run()), {"stuck": 1}, ["handler_stuck"]),
        (StuckHandlerEnded(run()), {"stuck": -1}, []),
        (JobsRescued([rescued(), rescued(RescuedAs.FAILED)]), {"rescued": 2}, ["job_rescued"] * 2),
    ],
)
async def test_each_event_is_counted_and_logged(
    event: Event, counted: dict[str, int], lines: list[str]
) -> None:
    stats, names = told(event)
    numbers = {
        name: value
        for name in WorkerStats.__dataclass_fields__
        if isinstance(value := getattr(stats, name), int) and value
    }
    assert numbers == counted
    assert names == lines


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (lambda: LeaseLost(run()), "jobs_lease_lost"),
        (lambda: JobReleased(run(stopped_for=StopReason.LEASE_UNSURE)), "jobs_released"),
        (lambda: JobRetryScheduled(run(), CUT_OFF, None), "jobs_retry_scheduled"),
        (lambda: JobsRescued([rescued()]), "jobs_rescued"),
    ],
)
async def test_what_an_outage_does_to_many_is_one_line(event: Any, line: str) -> None:
    _, names = told(*(event() for _ in range(4)))
    assert names == [line]
    _, names = told(*(event() for _ in range(3)))
    assert names == [line.replace("jobs_", "job_")] * 3


async def test_what_is_one_jobs_own_is_a_line_of_its_own() -> None:
    _, names = told(
        *(JobReleased(run(stopped_for=StopReason.SHUTDOWN)) for _ in range(4)),
        *(JobRetryScheduled(run(), ODD, None) for _ in range(4)),
    )
    assert names == ["job_released"] * 4 + ["job_retry_scheduled"] * 4


def test_durations_are_of_attempts_that_came_to_an_end_of_their_own() -> None:
    stats, _ = told(
        JobsClaimed([run().job]),
        JobsCompleted([run(seconds=SLOW_SECONDS)]),
        JobRetryScheduled(run(), ODD, None),
        JobFailed(run(), BAD),
        JobCancelled(run()),
    )
    assert sum(stats.run_seconds["plain"].counts) == 3
    assert stats.run_seconds["plain"].total_seconds >= SLOW_SECONDS
    assert sum(stats.wait_seconds["plain"].counts) == 1
    assert stats.completed_by_type == stats.retried_by_type == stats.failed_by_type == {"plain": 1}
    assert stats.retried_by_kind == {"unknown": 1}
