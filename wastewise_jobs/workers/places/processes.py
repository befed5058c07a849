"""Runs handlers in child processes: one job each at a time, warm ones are used again.

A child can be killed without harm to anybody else. One that dies fails the attempt of its job as
WORKER_PROCESS_DIED, which is retried; the third death is permanent, because such a job kills
whatever runs it. So is running out of the memory that a child may take: it would again.
"""

import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson

from wastewise_jobs.children.pool import ChildPool
from wastewise_jobs.children.process import (
    DIED,
    OUT_OF_MEMORY,
    Child,
    ChildDiedError,
    out_of_memory_message,
)
from wastewise_jobs.db import trouble
from wastewise_jobs.errors import LeaseLostError
from wastewise_jobs.handlers.context import JobContext
from wastewise_jobs.jobs.failure import Verdict
from wastewise_jobs.jobs.failure_rules import FailureKind
from wastewise_jobs.jobs.model import AiUsage, Progress
from wastewise_jobs.jobs.outcome import Completed, CompletedInTransaction, Outcome
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.logs import get_logger
from wastewise_jobs.workers.execute import failed_outcome
from wastewise_jobs.workers.run import Run

log = get_logger(__name__)

MEMORY_BYTES = 1024 * 1024 * 1024
_LONGEST_LINE = 16 * 1024 * 1024
_MOST_DEATHS = 3
_CANCEL = b'{"cancel":true}\n'


class Processes:
    """Child processes, as many as jobs at once; the worker's slots are what bounds them.

    `dsn` is for the handlers' own connections; without one they have none.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        log_level: str,
        log_format: str,
        dsn: str | None = None,
        lease: timedelta = timedelta(seconds=30),
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._store = store
        self._setup = {
            "log_level": log_level,
            "log_format": log_format,
            "dsn": dsn,
            "lease_seconds": lease.total_seconds(),
            "memory_bytes": memory_bytes,
            "parent": os.getpid(),
        }
        self._children = ChildPool(
            "wastewise_jobs.workers.places.child",
            memory_bytes=memory_bytes,
            greet=self._greet,
            longest_line=_LONGEST_LINE,
        )

    async def execute(self, run: Run) -> Outcome:
        """Run the whole job in a child; cancelling this kills the child."""
        try:
            async with self._children.child() as child:
                return await _RunInChild(child, run).outcome()
        except (ChildDiedError, OSError) as error:
            return await self._died(run, error)

    async def _died(self, run: Run, error: ChildDiedError | OSError) -> Outcome:
        log.warning("handler_process_died", error=str(error))
        if isinstance(error, ChildDiedError) and error.out_of_memory:
            message = out_of_memory_message(self._children.memory_bytes)
            reason = "the memory that a process may take"
            return failed_outcome(Verdict(FailureKind.PERMANENT, OUT_OF_MEMORY, message, reason))
        poison = await self._deaths_before(run) + 1 >= _MOST_DEATHS
        kind = FailureKind.PERMANENT if poison else FailureKind.RETRYABLE
        reason = "the process of the handler died" + (" again and again" if poison else "")
        message = f"the process that ran the handler {error}"
        return failed_outcome(Verdict(kind, DIED, message, reason))

    async def _deaths_before(self, run: Run) -> int:
        """As the job's log of errors has them; other errors are no sign of poison."""
        if run.job.retry_count + 1 < _MOST_DEATHS:
            return 0
        try:
            job = await self._store.get(run.job.id, user_id=None)
        except trouble.ERRORS:
            # One more attempt does less harm than to wait here.
            return 0
        errors = job.retry_errors if job is not None else ()
        return sum(error.get("error_code") == DIED for error in errors)

    def stop(self) -> None:
        """Kill all of them."""
        self._children.close()

    async def stopped(self, *, within: float) -> None:
        """Return once they are gone, or after so many seconds."""
        await self._children.closed(within=within)

    def _greet(self, child: Child) -> None:
        _send(child, {**self._setup, "path": sys.path})


class _RunInChild:
    """One run in its child, which speaks JSON lines."""

    def __init__(self, child: Child, run: Run) -> None:
        self._child = child
        self._run = run

    async def outcome(self) -> Outcome:
        run = self._run
        function = run.entry.handler.function
        _send(
            self._child,
            {
                "module": import_name(function.__module__),
                "name": function.__qualname__,
                "job": run.job,
            },
        )
        run.context.on_cancel = self._tell_cancelled
        if run.context.cancelled:
            self._tell_cancelled()
        try:
            while True:
                answer = await self._answer()
                if "done" in answer:
                    return self._outcome(answer["done"])
                self._hear(answer)
        finally:
            run.context.on_cancel = None
            run.context.holding = run.context.completed

    def _hear(self, answer: Mapping[str, Any]) -> None:
        if "started" in answer:
            self._run.start_clock()
        elif "holding" in answer:
            self._run.context.holding = answer["holding"]
        else:
            report_progress(self._run.context, answer["progress"])

    def _outcome(self, done: dict[str, Any]) -> Outcome:
        match done.pop("ended"):
            case "completed":
                usage = AiUsage(**done["usage"]) if done["usage"] else None
                return Completed(done["result"], usage)
            case "completed_in_transaction":
                self._run.context.completed = True
                return CompletedInTransaction()
            case "lease_lost":
                raise LeaseLostError(self._run.job.id, self._run.job.fence)
            case "out_of_memory":
                raise ChildDiedError("was refused memory", out_of_memory=True)
            case _:
                return failed_outcome(_verdict(done))

    def _tell_cancelled(self) -> None:
        if self._child.alive:
            self._child.commands.write(_CANCEL)

    async def _answer(self) -> dict[str, Any]:
        line = await self._child.answers.readline()
        if not line.endswith(b"\n"):
            raise await self._child.died()
        answer: dict[str, Any] = orjson.loads(line)
        return answer


def _send(child: Child, command: Mapping[str, object]) -> None:
    # asyncpg's UUIDs are of a class of their own, which orjson does not know.
    child.commands.write(orjson.dumps(command, default=str) + b"\n")


def import_name(module: str) -> str:
    """The name under which another process can import the module."""
    if module != "__main__":
        return module
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        raise ChildDiedError("a process handler cannot live in a script; put it in a module")
    return str(spec.name)


def report_progress(context: JobContext, values: dict[str, Any]) -> None:
    """Pass a child's progress on."""
    progress = Progress(**values)
    context.progress(
        progress.percent,
        progress.step,
        steps_completed=progress.steps_completed,
        total_steps=progress.total_steps,
    )


def _verdict(done: dict[str, Any]) -> Verdict:
    seconds = done.pop("retry_after")
    kind = FailureKind(done.pop("kind"))
    return Verdict(kind=kind, retry_after=timedelta(seconds=seconds) if seconds else None, **done)
