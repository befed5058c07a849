"""One run of one job: what is known of it until its outcome is durable, and how it is stopped."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from wastewise_jobs.db.pool import Connection
from wastewise_jobs.handlers.context import JobContext
from wastewise_jobs.handlers.options import RunIn
from wastewise_jobs.handlers.registry import AnyHandler
from wastewise_jobs.jobs.model import ClaimedJob, Progress
from wastewise_jobs.jobs.outcome import Outcome
from wastewise_jobs.workers.lanes import Lane

# How long a handler may react to `job.cancelled` before its task is cancelled.
COOPERATIVE_SECONDS = 0.5
NEVER = float("inf")
_LEASE_MARGIN = 0.1


def lease_margin(lease: timedelta) -> float:
    """How many seconds before its lease ends a handler is stopped, so that it runs alone."""
    return lease.total_seconds() * _LEASE_MARGIN


class StopReason(Enum):
    """Why a run is ended from outside."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    SHUTDOWN = "shutdown"
    LEASE_UNSURE = "lease_unsure"
    LEASE_LOST = "lease_lost"


@dataclass(frozen=True, slots=True)
class Desk:
    """What the runs of a worker ask of it: `report_progress` from any thread, the rest in the loop.

    `transaction` ends with the completion of the job, `connection` is for whatever else.
    """

    report_progress: Callable[["Run", Progress], None]
    transaction: Callable[[ClaimedJob, JobContext], AbstractAsyncContextManager[Connection]]
    connection: Callable[[], AbstractAsyncContextManager[Connection]]


# Calls a function elsewhere than in the loop, and returns its result or raises its error.
HandlerCall = Callable[[JobContext, Any], Awaitable[object]]
# Runs a whole job elsewhere, input and outcome included.
RunElsewhere = Callable[["Run"], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A handler as this worker calls it; `elsewhere` is set for handlers of a process."""

    handler: AnyHandler
    call: HandlerCall
    wants_input: bool
    elsewhere: RunElsewhere | None = None


class Run:
    """A claimed job between its start and the durable record of its outcome."""

    __slots__ = (
        "cancel_at",
        "context",
        "deadline",
        "desk",
        "entry",
        "job",
        "lane",
        "lease_until",
        "outcome",
        "settling",
        "started",
        "stopped_for",
        "stuck",
        "stuck_at",
        "task",
    )

    def __init__(
        self, job: ClaimedJob, entry: Entry, lane: Lane, desk: Desk, lease_until: float
    ) -> None:
        self.job = job
        self.entry = entry
        self.lane = lane
        self.desk = desk
        self.context = JobContext(job, self)
        self.start_clock()
        # Written by the heartbeat thread as well.
        self.lease_until = lease_until
        self.stopped_for: StopReason | None = None
        self.cancel_at = self.stuck_at = NEVER
        self.stuck = False
        # From the moment the outcome is known: nothing stops the run any more.
        self.settling = False
        self.outcome: Outcome | None = None
        self.task: asyncio.Task[None] | None = None

    def start_clock(self) -> None:
        """The timeout counts from now; again when a child process gets to the handler."""
        self.started = time.monotonic()
        timeout = self.job.timeout_seconds
        self.deadline = self.started + timeout if timeout else NEVER

    def facts(self) -> dict[str, object]:
        """What every record about this run says."""
        job = self.job
        return {"job_id": str(job.id), "job_type": job.job_type, "attempt": job.attempt}

    @property
    def overdue(self) -> bool:
        """Past its deadline, in the loop: nobody sees that in time but when the loop is blocked.

        A thread or a process may have ended in time, and the loop has not heard of it.
        """
        in_loop = self.entry.handler.options.run_in is RunIn.LOOP
        return in_loop and time.monotonic() >= self.deadline

    def report_progress(self, _context: JobContext, progress: Progress) -> None:
        """For the context."""
        self.desk.report_progress(self, progress)

    def transaction(self, context: JobContext) -> AbstractAsyncContextManager[Connection]:
        """For the context."""
        return self.desk.transaction(self.job, context)

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """For the context."""
        return self.desk.connection()

    def request_stop(self, reason: StopReason, *, patience: float) -> None:
        """End the run: tell the handler, cancel its task, and call it stuck after `patience`.

        A lost lease overrides any other reason; otherwise the first one stays. A shutdown has no
        time for the patience of an earlier reason.
        """
        if self.stopped_for is not None and reason is StopReason.SHUTDOWN:
            self.stuck_at = min(self.stuck_at, time.monotonic() + patience)
        if self.settling or (self.stopped_for is not None and reason is not StopReason.LEASE_LOST):
            return
        again = self.stopped_for is not None
        self.stopped_for = reason
        if again:
            return
        self.context.cancel()
        now = time.monotonic()
        cooperative = COOPERATIVE_SECONDS if reason is StopReason.CANCEL else 0.0
        self.stuck_at = now + cooperative + patience
        # A thread cannot be cancelled; its task waits for the result that tells what became of it.
        if self.entry.handler.options.run_in is not RunIn.THREAD:
            self.cancel_at = now + cooperative
            if not cooperative:
                self.cancel_task()

    def cancel_task(self) -> None:
        """Raise CancelledError in the handler; the process of a process handler is killed."""
        self.cancel_at = NEVER
        if self.task is not None:
            self.task.cancel()
