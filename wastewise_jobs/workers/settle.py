"""Makes outcomes durable: whatever finished while the last statement was under way goes into one.

A run keeps its slot until its outcome is written, or known to be lost. While PostgreSQL is away
an outcome is offered again and again; a batch that PostgreSQL refuses is repeated job by job, so
that one bad value, one locked row or one job that somebody's trigger guards harms only itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, assert_never

import asyncpg

from wastewise_jobs.db import trouble
from wastewise_jobs.db.loops import Backoff, Failures
from wastewise_jobs.errors import text_of
from wastewise_jobs.jobs.failure_rules import FailureKind
from wastewise_jobs.jobs.model import JobId, RetriedAs
from wastewise_jobs.jobs.outcome import (
    Cancelled,
    Completed,
    CompletedInTransaction,
    Failed,
    Outcome,
    Released,
    RetryLater,
)
from wastewise_jobs.jobs.storable import NOT_STORABLE, clean_text
from wastewise_jobs.jobs.store import JobStore, Retried
from wastewise_jobs.logs import get_logger
from wastewise_jobs.workers.journal import (
    JobCancelled,
    JobFailed,
    JobReleased,
    JobRetryScheduled,
    JobsCompleted,
    Journal,
    LeaseLost,
    OutcomeRefused,
)
from wastewise_jobs.workers.run import Run

log = get_logger(__name__)

MOST_SETTLED_TOGETHER = 500
# What a deploy is replacing, or has still to bring, is waited for while the lease can be renewed.
# Any other refusal may pass: a trigger of others that is being mended.
_DOUBT_SECONDS = 10.0
# All outcomes may be refused for the same reason: one line a second tells it.
_TELL_SECONDS = 1.0
_NOT_STORABLE_TEXT = "PostgreSQL refused to store the outcome of this run"

Item: TypeAlias = tuple[Run, Any]
Batch: TypeAlias = Sequence[Item]


class Settler:
    """Takes outcomes from runs; `on_settled` is told of runs whose slots are free again."""

    def __init__(
        self,
        store: JobStore,
        *,
        journal: Journal,
        on_settled: Callable[[Sequence[Run]], None],
    ) -> None:
        self._store = store
        self._journal = journal
        self._on_settled = on_settled
        self._completed = _Pipe("complete", self._complete, self._replace)
        self._retried = _Pipe("retry", self._retry, self._replace)
        self._failed = _Pipe("fail", self._fail, self._replace)
        self._released = _Pipe("release", self._release, self._replace)
        self._cancelled = _Pipe("cancel", self._cancel, self._replace)

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            for pipe in (
                self._completed,
                self._retried,
                self._failed,
                self._released,
                self._cancelled,
            ):
                group.create_task(pipe.run(), name=f"settle {pipe.name}")

    def put(self, run: Run, outcome: Outcome | None) -> None:
        """Take the outcome of a run; None when its lease is lost and there is nothing to write."""
        match outcome:
            case Completed():
                self._completed.put((run, outcome))
            case RetryLater():
                self._retried.put((run, outcome))
            case Failed():
                self._failed.put((run, outcome))
            case Released():
                self._released.put((run, outcome))
            case Cancelled():
                self._cancelled.put((run, outcome))
            case CompletedInTransaction():
                self._journal.tell(JobsCompleted([run]))
                self._on_settled([run])
            case None:
                self._journal.tell(LeaseLost(run))
                self._on_settled([run])
            case _:
                assert_never(outcome)

    async def _complete(self, batch: Batch, repeated: bool) -> None:  # noqa: FBT001 - see _Pipe
        won = await self._store.complete([(run.job, outcome) for run, outcome in batch])
        if repeated and len(won) < len(batch):
            # An earlier sending was carried out although its answer was lost.
            won = won | await self._store.completed_before([run.job for run, _ in batch])
        completed = [run for run, _ in batch if run.job.id in won]
        self._journal.tell(JobsCompleted(completed))
        self._ended(batch, won)

    async def _retry(self, batch: Batch, repeated: bool) -> None:  # noqa: ARG002, FBT001
        answers = await self._store.retry([(run.job, outcome) for run, outcome in batch])
        ended: list[Item] = []
        for run, outcome in batch:
            answer = answers.get(run.job.id)
            if answer is None or self._has_ended(run, outcome, answer):
                ended.append((run, outcome))
        self._ended(ended, set(answers))

    def _has_ended(self, run: Run, outcome: RetryLater, answer: Retried) -> bool:
        match answer.settled:
            case RetriedAs.RETRIED:
                self._journal.tell(JobRetryScheduled(run, outcome, answer.retry_after))
                return True
            case RetriedAs.CANCELLED:
                self._journal.tell(JobCancelled(run))
                return True
            case RetriedAs.EXHAUSTED:
                details = {**outcome.details, "retries_exhausted": True}
                failed = Failed(outcome.code, outcome.message, outcome.kind, details)
                self._failed.put((run, failed))
                return False
            case unreachable:
                assert_never(unreachable)

    async def _fail(self, batch: Batch, repeated: bool) -> None:  # noqa: ARG002, FBT001
        won = await self._store.fail([(run.job, outcome) for run, outcome in batch])
        for run, outcome in batch:
            if run.job.id in won:
                self._journal.tell(JobFailed(run, outcome))
        self._ended(batch, won)

    async def _release(self, batch: Batch, repeated: bool) -> None:  # noqa: ARG002, FBT001
        won = await self._store.release([run.job for run, _ in batch])
        for run, _ in batch:
            if run.job.id in won:
                self._journal.tell(JobReleased(run))
        self._ended(batch, won)

    async def _cancel(self, batch: Batch, repeated: bool) -> None:  # noqa: ARG002, FBT001
        won = await self._store.cancel_running([run.job for run, _ in batch])
        cancelled = [run for run, _ in batch if run.job.id in won]
        for run in cancelled:
            self._journal.tell(JobCancelled(run))
        self._on_settled(cancelled)
        for run, _ in batch:
            if run.job.id not in won:
                # The lease is lost, or the request was taken back.
                self._released.put((run, Released()))

    def _ended(self, batch: Batch, won: set[JobId]) -> None:
        if len(won) < len(batch):
            for run, _ in batch:
                if run.job.id not in won:
                    self._journal.tell(LeaseLost(run))
        self._on_settled([run for run, _ in batch])

    def _replace(self, item: Item, error: Exception) -> None:
        """What cannot be stored gives way to an outcome that says so."""
        run, outcome = item
        self._journal.tell(OutcomeRefused(run))
        if isinstance(outcome, Failed) and outcome.message == _NOT_STORABLE_TEXT:
            # Not even that: the lease will run out, and the rescue tells the rest.
            log.error("job_outcome_dropped", job_id=str(run.job.id), error=text_of(error)[:500])
            self._on_settled([run])
            return
        details = {"reason": clean_text(f"{type(error).__name__}: {text_of(error)}", 500)}
        failed = Failed(NOT_STORABLE, _NOT_STORABLE_TEXT, FailureKind.PERMANENT, details)
        self._failed.put((run, failed))


class _Pipe:
    """Outcomes of one kind on their way: one statement under way, the next ones gathering.

    Not a `Loop`: without outcomes there is nothing to look at, and each is offered on its own until
    PostgreSQL answers.
    `write(batch, repeated)` records outcomes and reports what became of them; `repeated` says that
    an earlier sending may have been carried out. `replace` takes what PostgreSQL refuses.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[Batch, bool], Awaitable[None]],
        replace: Callable[[Item, Exception], None],
    ) -> None:
        self.name = name
        self._write = write
        self._replace = replace
        self._waiting: list[Item] = []
        self._filled = asyncio.Event()
        self._told_at = float("-inf")
        self._stragglers: set[asyncio.Task[None]] = set()

    def put(self, item: Item) -> None:
        self._waiting.append(item)
        self._filled.set()

    async def run(self) -> None:
        try:
            while True:
                await self._filled.wait()
                batch = self._next_batch()
                if not self._waiting:
                    self._filled.clear()
                await self._settle(batch)
        finally:
            for task in self._stragglers:
                task.cancel()

    def _next_batch(self) -> list[Item]:
        """Each job once, because the answers name jobs, and one that ran twice has two outcomes."""
        first = self._waiting[:MOST_SETTLED_TOGETHER]
        batch: dict[JobId, Item] = {}
        later = [item for item in first if batch.setdefault(item[0].job.id, item) is not item]
        self._waiting[:MOST_SETTLED_TOGETHER] = later
        return list(batch.values())

    async def _settle(self, batch: list[Item]) -> None:
        error, repeated = await self._offer(batch)
        if error is not None:
            for item in batch:
                await self._settle_alone(item, repeated)

    async def _settle_alone(self, item: Item, repeated: bool) -> None:  # noqa: FBT001 - see _Pipe
        error, repeated = await self._offer([item], repeated)
        if error is None:
            return
        if _state(error).startswith(trouble.NOT_STORABLE):
            self._replace(item, error)
            return
        now = time.monotonic()
        # Busy: somebody else holds the row just now, or works in a trigger for too long.
        if not _state(error).startswith(trouble.BUSY) and now > self._told_at + _TELL_SECONDS:
            self._told_at = now
            log.warning(
                "job_outcome_refused", job_id=str(item[0].job.id), error=text_of(error)[:500]
            )
        # Not here: what is in the way may stay for long, and others are waiting.
        later = self._settle_later(item, repeated)
        task = asyncio.create_task(later, name=f"settle {self.name} later")
        self._stragglers.add(task)
        task.add_done_callback(self._stragglers.discard)

    async def _settle_later(self, item: Item, repeated: bool) -> None:  # noqa: FBT001 - see _Pipe
        backoff = Backoff(first=0.2, cap=1.0)
        doubtful_until = time.monotonic() + _DOUBT_SECONDS
        while True:
            await asyncio.sleep(backoff.next())
            error, repeated = await self._offer([item], repeated)
            if error is None:
                return
            passing = _state(error).startswith(trouble.BUSY + trouble.CHANGED_SCHEMA)
            if not passing and time.monotonic() > doubtful_until:
                self._replace(item, error)
                return

    async def _offer(
        self,
        batch: list[Item],
        repeated: bool = False,  # noqa: FBT001, FBT002 - see _Pipe
    ) -> tuple[Exception | None, bool]:
        """Send until PostgreSQL answers; the error when it answers that it will not.

        And whether some sending may have been carried out although its answer was lost.
        """
        failures = Failures(f"settle {self.name}", Backoff(first=0.05, cap=2.0))
        while True:
            try:
                await self._write(batch, repeated)
            except Exception as error:  # noqa: BLE001 - a loop's tick: an outcome is never given up
                if _refuses(error):
                    return error, repeated
                repeated = True
                delay = failures.met(error)
            else:
                failures.over()
                return None, repeated
            await asyncio.sleep(delay)


def _refuses(error: Exception) -> bool:
    """Whether repeating the same batch is pointless; otherwise the database is in trouble."""
    if isinstance(error, asyncpg.PostgresError):
        return not trouble.is_outage(error)
    # A value that could not even be sent. Nothing else, because a connection that breaks in the
    # middle can raise almost anything, asyncpg's InternalClientError among it.
    return isinstance(error, ValueError | TypeError | OverflowError)


def _state(error: Exception) -> str:
    """The SQLSTATE; that of bad data for a value that could not even be sent."""
    return trouble.sqlstate(error) or "22000"
