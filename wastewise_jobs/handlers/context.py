"""What a handler sees of its job, and the few things it can do to it while it runs.

A job runs at least once: a worker that dies after the work but before the record of it leaves the
job to another worker. So side effects outside the database need a key of their own (`job.id` is
the same in every attempt), and side effects inside it belong into `job.transaction()`, which
happens exactly once.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from wastewise_jobs.db.pool import Connection
from wastewise_jobs.jobs.model import AiUsage, ClaimedJob, JobId, Progress
from wastewise_jobs.logs import get_logger

_GREATEST_COUNT = 2**31 - 1

# Of the columns ai_requests and ai_tokens_*; the jobs of an adopted database have integers.
_MOST_REQUESTS = _MOST_TOKENS = 2**31 - 1


class Link(Protocol):
    """What a context asks of whoever runs the job: a worker, a child process or a test."""

    def report_progress(self, context: "JobContext", progress: Progress) -> None:
        """Take note of the newest progress; cheap, and allowed from any thread."""

    def transaction(self, context: "JobContext") -> AbstractAsyncContextManager[Connection]:
        """A transaction that ends with the completion of the job."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """A connection that is given back as it was."""


class JobContext:
    """The first argument of every handler. Valid for one run of one job."""

    __slots__ = (
        "_cancelled",
        "_job",
        "_link",
        "_log",
        "_result",
        "_usage",
        "_waiter",
        "completed",
        "holding",
        "on_cancel",
        "saw_cancellation",
    )

    def __init__(self, job: ClaimedJob, link: Link) -> None:
        self._job = job
        self._link = link
        self._cancelled = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._usage: AiUsage | None = None
        self._log: FilteringBoundLogger | None = None
        self._result: object = None
        # For whoever runs the job: called by cancel(); whether its transaction has the job's row,
        # so that nobody else can take the job; whether that completed it; whether the handler knew
        # that it should stop.
        self.on_cancel: Callable[[], None] | None = None
        self.holding = False
        self.completed = False
        self.saw_cancellation = False

    @property
    def claimed(self) -> ClaimedJob:
        """The job and its lease, for whoever runs it."""
        return self._job

    @property
    def id(self) -> JobId:
        """The same in every attempt: a good idempotency key for side effects."""
        return self._job.id

    @property
    def attempt(self) -> int:
        """This run, counted from 1; a run cut short by a shutdown or a crash is not counted."""
        return self._job.retry_count + 1

    @property
    def job_type(self) -> str:
        """The name that selected the handler."""
        return self._job.job_type

    @property
    def user_id(self) -> UUID | None:
        """Whose job it is; None for jobs of nobody."""
        return self._job.user_id

    @property
    def project_id(self) -> UUID | None:
        """What it is about, if anything."""
        return self._job.project_id

    @property
    def created_at(self) -> datetime:
        """When it was enqueued, by the database's clock."""
        return self._job.created_at

    @property
    def log(self) -> FilteringBoundLogger:
        """A logger whose lines carry the job's id, type and attempt."""
        if self._log is None:
            self._log = get_logger("handler").bind(
                job_id=str(self._job.id), job_type=self._job.job_type, attempt=self.attempt
            )
        return self._log

    @property
    def cancelled(self) -> bool:
        """Whether the run should end.

        Somebody cancelled the job, its time is up, its lease is lost, or the worker stops.
        Functions in threads must look at this now and then: nothing else ends them.
        """
        if self._cancelled:
            self.saw_cancellation = True
        return self._cancelled

    async def wait_cancelled(self) -> None:
        """Return once `cancelled` is true."""
        if self._waiter is None:
            self._waiter = (asyncio.get_running_loop(), asyncio.Event())
        if self._cancelled:
            return
        await self._waiter[1].wait()

    def progress(
        self,
        percent: float,
        step: str | None = None,
        *,
        steps_completed: int | None = None,
        total_steps: int | None = None,
    ) -> None:
        """Say how far the run is, 0 to 100; cheap enough for an inner loop, from any thread.

        Only the newest is written, a few times a second. None leaves what was said before.
        """
        # NaN is not less than anything: it counts as nothing.
        bounded = round(min(percent, 100)) if percent > 0 else 0
        progress = Progress(bounded, step, _count(steps_completed), _count(total_steps))
        self._link.report_progress(self, progress)

    def record_ai_usage(
        self,
        *,
        requests: int = 1,
        tokens_input: int = 0,
        tokens_output: int = 0,
        cost_usd: float = 0.0,
    ) -> None:
        """Add to what this run spent on AI services; stored when the job completes.

        Counts beyond what the columns hold are cut: no statistic costs a job its result.
        """
        spent = self._usage or AiUsage()
        self._usage = AiUsage(
            min(spent.requests + requests, _MOST_REQUESTS),
            min(spent.tokens_input + tokens_input, _MOST_TOKENS),
            min(spent.tokens_output + tokens_output, _MOST_TOKENS),
            spent.cost_usd + cost_usd,
        )

    @property
    def ai_usage(self) -> AiUsage | None:
        """What was recorded so far."""
        return self._usage

    def set_result(self, value: object) -> None:
        """The job's result, for a handler that completes in `transaction()`."""
        self._result = value

    @property
    def result(self) -> object:
        """What `set_result` was given."""
        return self._result

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction that also completes the job: both happen exactly once, or neither.

            async with job.transaction() as connection:
                await connection.execute("INSERT INTO bills ...")
                job.set_result({"bills": 1})

        The job's row stays locked inside: keep the block short and do slow work before it; between
        two statements PostgreSQL waits for the length of a lease, then it rolls back. Raises
        LeaseLostError, and nothing is written, if the job has been given to another worker; let
        it pass. After the block the job is completed, whatever the handler does or returns. What
        the block has set (SET ROLE, a search path, limits) ends with it, before the completion.
        Only for handlers that are async.
        """
        async with self._link.transaction(self) as connection:
            yield connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the worker's, for what need not happen exactly once.

        There are few: hold it for moments, not while you compute. Only for handlers that are async.
        """
        async with self._link.connection() as connection:
            yield connection

    def cancel(self) -> None:
        """For whoever runs the job: make `cancelled` true and wake its waiter, from any thread."""
        self._cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()
        if self._waiter is not None:
            loop, event = self._waiter
            loop.call_soon_threadsafe(event.set)


def _count(number: int | None) -> int | None:
    """What the column holds."""
    return None if number is None else min(max(number, 0), _GREATEST_COUNT)
