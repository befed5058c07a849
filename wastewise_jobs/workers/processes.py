"""Runs handlers in child processes: one job each at a time, warm ones are used again.

A child can be killed without harm to anybody else; it is started afresh (no fork), so it inherits
no socket, and in a session of its own, so that Ctrl-C does not reach it. A child that dies fails
the attempt of its job as WORKER_PROCESS_DIED, which is retried; the third death is permanent,
because such a job kills whatever runs it.
"""

import asyncio
import contextlib
import os
import signal
import sys
from datetime import timedelta
from typing import Any

import asyncpg
import orjson

from wastewise_jobs.handlers.context import JobContext
from wastewise_jobs.jobs.failure import FailureKind, Verdict
from wastewise_jobs.jobs.model import AiUsage, Progress
from wastewise_jobs.jobs.outcome import Completed, Outcome
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.logs import get_logger
from wastewise_jobs.workers.run import Run, failed_outcome

log = get_logger(__name__)

_LONGEST_LINE = 16 * 1024 * 1024
_DIED = "WORKER_PROCESS_DIED"
_MOST_DEATHS = 3
_CANCEL = b'{"cancel":true}\n'


class ProcessDiedError(Exception):
    """The child ended without an answer."""


class Processes:
    """Child processes, as many as jobs at once; the worker's slots are what bounds them."""

    def __init__(self, store: JobStore, *, log_level: str, log_format: str) -> None:
        self._store = store
        self._setup = {"log_level": log_level, "log_format": log_format}
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()

    async def run(self, run: Run) -> Outcome:
        """Run the whole job in a child; cancelling this kills the child."""
        child: _Child | None = None
        answered = False
        try:
            child = await self._take()
            outcome = await child.work(run)
            answered = True
        except (ProcessDiedError, OSError) as error:
            return await self._died(run, error)
        finally:
            if child is not None and answered:
                self._idle.append(child)
            elif child is not None:
                child.kill()
                self._all.discard(child)
        return outcome

    async def _died(self, run: Run, error: Exception) -> Outcome:
        log.warning("handler_process_died", error=str(error))
        poison = await self._deaths_before(run) + 1 >= _MOST_DEATHS
        kind = FailureKind.PERMANENT if poison else FailureKind.RETRYABLE
        reason = "the process of the handler died" + (" again and again" if poison else "")
        message = f"the process that ran the handler {error}"
        return failed_outcome(Verdict(kind, _DIED, message, reason))

    async def _deaths_before(self, run: Run) -> int:
        """As the job's log of errors has them; other errors are no sign of poison."""
        if run.job.retry_count + 1 < _MOST_DEATHS:
            return 0
        try:
            job = await self._store.get(run.job.id, user_id=None)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            # One more attempt does less harm than to wait here.
            return 0
        errors = job.retry_errors if job is not None else ()
        return sum(error.get("error_code") == _DIED for error in errors)

    def stop(self) -> None:
        """Kill all of them."""
        for child in self._all:
            child.kill()
        self._all.clear()
        self._idle.clear()

    async def _take(self) -> "_Child":
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            self._all.discard(child)
        child = await _Child.start({**self._setup, "path": sys.path})
        self._all.add(child)
        return child


class _Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ProcessDiedError("started without pipes")
        self._process = process
        self._commands = process.stdin
        self._answers = process.stdout

    @classmethod
    async def start(cls, setup: dict[str, object]) -> "_Child":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "wastewise_jobs.workers.child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            start_new_session=True,
            # The child imports this package before it is told our path.
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        child = cls(process)
        child._commands.write(orjson.dumps(setup) + b"\n")
        return child

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def work(self, run: Run) -> Outcome:
        function = run.entry.handler.function
        self._send(
            {
                "module": import_name(function.__module__),
                "name": function.__qualname__,
                "job": run.job,
            }
        )
        run.context.on_cancel = self._tell_cancelled
        if run.context.cancelled:
            self._tell_cancelled()
        try:
            while True:
                answer = await self._answer()
                if "done" in answer:
                    return _outcome(answer["done"])
                if "started" in answer:
                    run.start_clock()
                else:
                    report_progress(run.context, answer["progress"])
        finally:
            run.context.on_cancel = None

    def _send(self, command: dict[str, object]) -> None:
        # asyncpg's UUIDs are of a class of their own, which orjson does not know.
        self._commands.write(orjson.dumps(command, default=str) + b"\n")

    def _tell_cancelled(self) -> None:
        if self.alive:
            self._commands.write(_CANCEL)

    async def _answer(self) -> dict[str, Any]:
        line = await self._answers.readline()
        if not line.endswith(b"\n"):
            code = await self._process.wait()
            raise ProcessDiedError(_how_it_ended(code))
        answer: dict[str, Any] = orjson.loads(line)
        return answer

    def kill(self) -> None:
        """The child and whatever it has started."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


def import_name(module: str) -> str:
    """The name under which another process can import the module."""
    if module != "__main__":
        return module
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        raise ProcessDiedError("a process handler cannot live in a script; put it in a module")
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


def _outcome(done: dict[str, Any]) -> Outcome:
    if "code" not in done:
        return Completed(done["result"], AiUsage(**done["usage"]) if done["usage"] else None)
    seconds = done.pop("retry_after")
    kind = FailureKind(done.pop("kind"))
    retry_after = timedelta(seconds=seconds) if seconds else None
    return failed_outcome(Verdict(kind=kind, retry_after=retry_after, **done))


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
