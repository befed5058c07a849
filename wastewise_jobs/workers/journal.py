"""Counts what became of runs, and logs it: one line a job, or one a second for many alike.

Those are quick successes, and what an outage of the database does to all jobs of a worker.
"""

import asyncio
import time
from collections import Counter
from contextvars import copy_context
from typing import TypeAlias

from wastewise_jobs.jobs.failure_rules import DATABASE_UNAVAILABLE
from wastewise_jobs.jobs.model import RescuedAs, RescuedJob
from wastewise_jobs.jobs.outcome import Failed, RetryLater
from wastewise_jobs.jobs.store import Retried
from wastewise_jobs.logs import get_logger
from wastewise_jobs.workers.run import Run, StopReason
from wastewise_jobs.workers.stats import WorkerStats

log = get_logger(__name__)

_QUICK_SECONDS = 0.1
_SUMMARY_EVERY_SECONDS = 1.0
# So many of a second get lines of their own; more are one line, which names a hundred.
_FEW = 3
_NAMED = 100

Facts: TypeAlias = dict[str, object]


class Journal:
    """The worker's memory of settled runs; `stats` are its totals."""

    def __init__(self, stats: WorkerStats) -> None:
        self.stats = stats
        self._quick: Counter[str] = Counter()
        self._lost: list[Facts] = []
        self._unsure: list[Facts] = []
        self._cut_off: list[Facts] = []
        self._rescued: list[Facts] = []
        self._timer: asyncio.TimerHandle | None = None
        self._context = copy_context()

    def begin(self) -> None:
        """Speak in the caller's name from now on, whoever's run has the last word in a second."""
        self._context = copy_context()

    def completed(self, runs: list[Run]) -> None:
        """Their completion is durable."""
        now = time.monotonic()
        self.stats.completed += len(runs)
        quick, durations = self._quick, self.stats.run_seconds
        for run in runs:
            seconds = now - run.started
            durations[run.job.job_type].observe(seconds)
            if seconds < _QUICK_SECONDS:
                quick[run.job.job_type] += 1
            else:
                self.stats.completed_by_type[run.job.job_type] += 1
                log.info("job_completed", **run.facts(), duration_seconds=round(seconds, 3))
        if quick:
            self._summarize_soon()

    def _summarize_soon(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(
                _SUMMARY_EVERY_SECONDS, self.summarize, context=self._context
            )

    def summarize(self) -> None:
        """Log what was gathered since the last summary."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._quick:
            self.stats.completed_by_type.update(self._quick)
            log.info("jobs_completed", count=self._quick.total(), by_type=dict(self._quick))
            self._quick.clear()
        for gathered, tell in (
            (self._lost, _tell_lost),
            (self._unsure, _tell_released),
            (self._cut_off, _tell_retried),
            (self._rescued, _tell_rescued),
        ):
            tell(gathered)
            gathered.clear()

    def _note_end(self, run: Run) -> None:
        self.stats.run_seconds[run.job.job_type].observe(time.monotonic() - run.started)

    def _gather(self, facts: Facts, into: list[Facts]) -> None:
        into.append(facts)
        self._summarize_soon()

    def retried(self, run: Run, outcome: RetryLater, answer: Retried) -> None:
        """It waits for its next attempt."""
        self.stats.retried += 1
        self.stats.retried_by_type[run.job.job_type] += 1
        self.stats.retried_by_kind[outcome.kind] += 1
        self._note_end(run)
        facts = {**run.facts(), **_error(outcome), "retry_after": answer.retry_after}
        if outcome.code == DATABASE_UNAVAILABLE:
            self._gather(facts, self._cut_off)
        else:
            _tell_retried([facts])

    def failed(self, run: Run, outcome: Failed) -> None:
        """It is a dead letter."""
        self.stats.failed += 1
        self.stats.failed_by_type[run.job.job_type] += 1
        self._note_end(run)
        log.error("job_failed", **run.facts(), **_error(outcome))

    def cancelled(self, run: Run) -> None:
        """It ended because somebody asked for it."""
        self.stats.cancelled += 1
        self.stats.cancelled_by_type[run.job.job_type] += 1
        log.info("job_cancelled", **run.facts())

    def released(self, run: Run) -> None:
        """It was given back."""
        self.stats.released += 1
        if run.stopped_for is StopReason.LEASE_UNSURE:
            self._gather(run.facts(), self._unsure)
        else:
            _tell_released([run.facts()])

    def lease_lost(self, run: Run) -> None:
        """Another worker has it, or somebody finished it by hand: our outcome was dropped."""
        self.stats.lease_lost += 1
        self._gather({**run.facts(), "fence": run.job.fence}, self._lost)

    def stuck(self, run: Run) -> None:
        """Its handler did not end when it was stopped."""
        reason = run.stopped_for.value if run.stopped_for else None
        log.error("handler_stuck", **run.facts(), stopped_for=reason)

    def rescued(self, jobs: list[RescuedJob]) -> None:
        """They were taken from workers that are gone."""
        self.stats.rescued += len(jobs)
        for job in jobs:
            facts: Facts = {
                "job_id": str(job.id),
                "job_type": job.job_type,
                "lost_by": job.worker_id,
                "crash_count": job.crash_count,
                "settled": job.settled,
            }
            if job.settled is RescuedAs.RESCUED:
                self._gather(facts, self._rescued)
            else:
                _tell_rescued([facts])


def _tell_lost(gathered: list[Facts]) -> None:
    if len(gathered) > _FEW:
        log.warning("jobs_lease_lost", **_together(gathered))
        return
    for facts in gathered:
        log.warning("job_lease_lost", **facts)


def _tell_released(gathered: list[Facts]) -> None:
    if len(gathered) > _FEW:
        log.info("jobs_released", **_together(gathered))
        return
    for facts in gathered:
        log.info("job_released", **facts)


def _tell_retried(gathered: list[Facts]) -> None:
    if len(gathered) > _FEW:
        log.warning("jobs_retry_scheduled", **_together(gathered))
        return
    for facts in gathered:
        log.warning("job_retry_scheduled", **facts)


def _tell_rescued(gathered: list[Facts]) -> None:
    if len(gathered) > _FEW:
        log.warning("jobs_rescued", **_together(gathered))
        return
    for facts in gathered:
        log.warning("job_rescued", **facts)


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


def _error(outcome: RetryLater | Failed) -> dict[str, object]:
    return {
        "error_code": outcome.code,
        "failure_kind": str(outcome.kind),
        "reason": outcome.details.get("reason"),
        "error": outcome.message[:500],
    }
