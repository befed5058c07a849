"""Logs what became of jobs: one line a job, or one a second for many alike.

Those are quick successes, and what an outage of the database does to all jobs of a worker.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from contextvars import copy_context
from typing import TypeAlias, assert_never

from wastewise_jobs.jobs.failure_rules import DATABASE_UNAVAILABLE
from wastewise_jobs.jobs.model import ClaimedJob, RescuedAs, RescuedJob
from wastewise_jobs.jobs.outcome import Failed, RetryLater
from wastewise_jobs.logs import get_logger
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
from wastewise_jobs.workers.run import Run, StopReason

log = get_logger(__name__)

_QUICK_SECONDS = 0.1
_SUMMARY_EVERY_SECONDS = 1.0
# So many of a second get lines of their own; more are one line, which names a hundred.
_FEW = 3
_NAMED = 100

Facts: TypeAlias = dict[str, object]


class EventLog:
    """A sink of the journal; `summarize()` it last."""

    def __init__(self) -> None:
        self._quick: Counter[str] = Counter()
        self._lost = _Alike(logging.WARNING, "job_lease_lost", "jobs_lease_lost")
        self._released = _Alike(logging.INFO, "job_released", "jobs_released")
        self._retried = _Alike(logging.WARNING, "job_retry_scheduled", "jobs_retry_scheduled")
        self._rescued = _Alike(logging.WARNING, "job_rescued", "jobs_rescued")
        self._timer: asyncio.TimerHandle | None = None
        self._context = copy_context()

    def begin(self) -> None:
        """Speak in the caller's name from now on, whoever's run has the last word in a second."""
        self._context = copy_context()

    def take(self, event: Event) -> None:
        """Log it now, or gather it for the next summary."""
        if isinstance(event, Settled):
            self._settled(event)
        else:
            self._noted(event)

    def _settled(self, event: Settled) -> None:
        match event:
            case JobsCompleted():
                self._completed(event)
            case JobRetryScheduled():
                self._retry_scheduled(event)
            case JobFailed(run, outcome):
                log.error("job_failed", **run.facts(), **_error(outcome))
            case JobCancelled(run):
                log.info("job_cancelled", **run.facts())
            case JobReleased(run):
                unsure = run.stopped_for is StopReason.LEASE_UNSURE
                self._tell(self._released, run.facts(), gather=unsure)
            case LeaseLost(run):
                self._tell(self._lost, {**run.facts(), "fence": run.job.fence}, gather=True)
            case _:
                assert_never(event)

    def _noted(self, event: Noted) -> None:
        match event:
            case JobsClaimed(jobs):
                if log.is_enabled_for(logging.DEBUG):
                    _tell_claims(jobs)
            case JobsRescued(jobs):
                self._rescued_jobs(jobs)
            case HandlerStuck(run):
                _tell_stuck(run)
            case OutcomeRefused() | RunTimedOut() | StuckHandlerEnded():
                # The outcome that is recorded says the same.
                pass
            case _:
                assert_never(event)

    def summarize(self) -> None:
        """Log what was gathered since the last summary."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._quick:
            log.info("jobs_completed", count=self._quick.total(), by_type=dict(self._quick))
            self._quick.clear()
        for alike in (self._lost, self._released, self._retried, self._rescued):
            alike.tell_gathered()

    def _completed(self, event: JobsCompleted) -> None:
        since = event.at - _QUICK_SECONDS
        self._quick.update([run.job.job_type for run in event.runs if run.started > since])
        for run in event.runs:
            if run.started <= since:
                seconds = round(event.at - run.started, 3)
                log.info("job_completed", **run.facts(), duration_seconds=seconds)
        if self._quick:
            self._summarize_soon()

    def _retry_scheduled(self, event: JobRetryScheduled) -> None:
        outcome = event.outcome
        facts = {**event.run.facts(), **_error(outcome), "retry_after": event.retry_after}
        self._tell(self._retried, facts, gather=outcome.code == DATABASE_UNAVAILABLE)

    def _rescued_jobs(self, jobs: Sequence[RescuedJob]) -> None:
        for job in jobs:
            facts: Facts = {
                "job_id": str(job.id),
                "job_type": job.job_type,
                "lost_by": job.worker_id,
                "crash_count": job.crash_count,
                "settled": job.settled,
            }
            self._tell(self._rescued, facts, gather=job.settled is RescuedAs.RESCUED)

    def _tell(self, alike: "_Alike", facts: Facts, *, gather: bool) -> None:
        if gather:
            alike.gathered.append(facts)
            self._summarize_soon()
        else:
            alike.tell(facts)

    def _summarize_soon(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(
                _SUMMARY_EVERY_SECONDS, self.summarize, context=self._context
            )


class _Alike:
    """Events of one name: a line each for a few, one line for many."""

    def __init__(self, level: int, name: str, name_of_many: str) -> None:
        self.gathered: list[Facts] = []
        self._level = level
        self._name = name
        self._name_of_many = name_of_many

    def tell(self, facts: Facts) -> None:
        log.log(self._level, self._name, **facts)

    def tell_gathered(self) -> None:
        gathered, self.gathered = self.gathered, []
        if len(gathered) > _FEW:
            log.log(self._level, self._name_of_many, **_together(gathered))
            return
        for facts in gathered:
            self.tell(facts)


def _together(gathered: list[Facts]) -> Facts:
    named = gathered[:_NAMED]
    together: Facts = {
        "count": len(gathered),
        "by_type": dict(Counter(facts["job_type"] for facts in gathered)),
        "job_ids": [facts["job_id"] for facts in named],
    }
    if "fence" in gathered[0]:
        together["fences"] = [facts["fence"] for facts in named]
    return together


def _tell_claims(jobs: Sequence[ClaimedJob]) -> None:
    for job in jobs:
        log.debug(
            "job_claimed",
            job_id=str(job.id),
            job_type=job.job_type,
            attempt=job.attempt,
            fence=job.fence,
            waited_seconds=round(job.waited_seconds, 3),
        )


def _tell_stuck(run: Run) -> None:
    reason = run.stopped_for.value if run.stopped_for else None
    log.error("handler_stuck", **run.facts(), stopped_for=reason)


def _error(outcome: RetryLater | Failed) -> dict[str, object]:
    return {
        "error_code": outcome.code,
        "failure_kind": str(outcome.kind),
        "reason": outcome.details.get("reason"),
        "error": outcome.message[:500],
    }
