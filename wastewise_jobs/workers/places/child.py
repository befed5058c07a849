"""The child process that runs process handlers, one job at a time; started by `processes.py`.

Speaks JSON lines: commands come on stdin, answers go to what was stdout (the handler's own prints
go to stderr). A thread reads the commands while the main thread works, so that a cancellation is
heard at once, and so that the process ends when its parent is gone, however busy it is.
"""

import asyncio
import functools
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from importlib import import_module
from queue import SimpleQueue
from typing import IO, Any
from uuid import UUID

import orjson

from wastewise_jobs.children.confine import OUT_OF_MEMORY_EXIT, confine
from wastewise_jobs.db.pool import Connection, Pool, create_pool
from wastewise_jobs.errors import LeaseLostError, PermanentError
from wastewise_jobs.handlers.context import JobContext
from wastewise_jobs.handlers.handler import Handler
from wastewise_jobs.jobs.failure import classify
from wastewise_jobs.jobs.model import ClaimedJob, JobId, Progress
from wastewise_jobs.logs import configure_logging
from wastewise_jobs.workers.execute import completed
from wastewise_jobs.workers.progress import FLUSH_EVERY_SECONDS, merged
from wastewise_jobs.workers.transaction import Transactions

_ORPHANED = 1
# One for a transaction, and one for whoever reads beside it.
_CONNECTIONS = 2


class ChildLink:
    """What a context can do in a child: tell its progress, until its job is done.

    Handlers that are async have connections of their own as well, made when they are wanted.
    """

    def __init__(self, answers: IO[bytes], *, dsn: str | None, lease: timedelta) -> None:
        self._answers = answers
        self._dsn = dsn
        self._lease = lease
        self._lock = threading.Lock()
        self._current: JobContext | None = None
        self._newest: Progress | None = None
        self._sent_at = float("-inf")
        self._reported = threading.Event()
        self._pool: Pool | None = None

    def start(self, context: JobContext) -> None:
        """The timeout counts from now."""
        with self._lock:
            self._current, self._newest = context, None
            self._send(started=True)

    def finish(self, outcome: dict[str, Any]) -> None:
        """Whatever threads the handler has left behind are heard no more."""
        with self._lock:
            self._current = None
            self._send(done=outcome)

    def report_progress(self, context: JobContext, progress: Progress) -> None:
        """From any thread; the newest is sent soon."""
        with self._lock:
            if context is not self._current:
                return
            self._newest = merged(self._newest, progress)
            if time.monotonic() >= self._sent_at + FLUSH_EVERY_SECONDS:
                self._send_newest()
            else:
                self._reported.set()

    def send_progress(self) -> None:
        """Send what comes too soon after the last: a handler that floods harms only itself."""
        while self._reported.wait():
            time.sleep(FLUSH_EVERY_SECONDS)
            self._reported.clear()
            with self._lock:
                if self._current is not None:
                    self._send_newest()

    def _send_newest(self) -> None:
        newest, self._newest = self._newest, None
        if newest is not None:
            self._send(progress=newest)
            self._sent_at = time.monotonic()

    def _send(self, **message: object) -> None:
        self._answers.write(orjson.dumps(message) + b"\n")
        self._answers.flush()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """For one run, because each has an event loop of its own."""
        try:
            yield
        finally:
            pool, self._pool = self._pool, None
            if pool is not None:
                pool.terminate()

    @asynccontextmanager
    async def transaction(self, context: JobContext) -> AsyncIterator[Connection]:
        """A transaction that completes the job; the parent is told that the row is held."""
        transactions = await self._transactions()
        try:
            async with transactions.completing(context.claimed, context) as connection:
                self._send_safely(holding=True)
                yield connection
        finally:
            if not context.completed:
                self._send_safely(holding=False)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One of this child's own."""
        async with (await self._transactions()).connection() as connection:
            yield connection

    def _send_safely(self, **message: object) -> None:
        with self._lock:
            self._send(**message)

    async def _transactions(self) -> Transactions:
        if self._dsn is None:
            raise PermanentError("NO_DATABASE_IN_PROCESS", "this process was given no database")
        if self._pool is None:
            self._pool = await create_pool(
                self._dsn,
                min_size=0,
                max_size=_CONNECTIONS,
                application_name="wastewise-jobs child",
            )
        return Transactions(self._pool, lease=self._lease, most=_CONNECTIONS)


def main() -> None:
    """Run jobs until stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    setup = orjson.loads(sys.stdin.buffer.readline())
    confine(memory_bytes=setup["memory_bytes"], parent=setup["parent"])
    sys.path[:] = setup["path"]
    configure_logging(setup["log_level"], setup["log_format"])
    link = ChildLink(answers, dsn=setup["dsn"], lease=timedelta(seconds=setup["lease_seconds"]))
    jobs: SimpleQueue[tuple[dict[str, Any], JobContext]] = SimpleQueue()
    for target, args in ((_listen, (jobs, link)), (link.send_progress, ())):
        threading.Thread(target=target, args=args, daemon=True).start()
    while True:
        try:
            command, context = jobs.get()
            link.finish(_run(command, context, link))
        except MemoryError:
            os._exit(OUT_OF_MEMORY_EXIT)


def _listen(jobs: SimpleQueue[tuple[dict[str, Any], JobContext]], link: ChildLink) -> None:
    context: JobContext | None = None
    try:
        for line in sys.stdin.buffer:
            command = orjson.loads(line)
            if "job" in command:
                # Made here, so that a cancellation that follows at once finds it.
                context = JobContext(_job(command["job"]), link)
                jobs.put((command, context))
            elif context is not None:
                context.cancel()
    except MemoryError:
        os._exit(OUT_OF_MEMORY_EXIT)
    os._exit(_ORPHANED)


def _run(command: dict[str, Any], context: JobContext, link: ChildLink) -> dict[str, Any]:
    try:
        handler = resolve(command["module"], command["name"])
        text = command["job"]["input_json"]
        given = (handler.parse_input(text),) if handler.signature.wants_input else ()
        # The imports are done.
        link.start(context)
        if handler.signature.is_async:
            outcome = completed(context, asyncio.run(_call(handler, context, given, link)))
        else:
            outcome = completed(context, handler.function(context, *given))
    except BaseException as error:  # noqa: BLE001 - a handler's run: whatever it raises
        return _completed_first(context) or _ended(error)
    return _completed_first(context) or {
        "ended": "completed",
        "result": outcome.result_json,
        "usage": outcome.ai_usage,
    }


async def _call(
    handler: Handler[..., Any], context: JobContext, given: tuple[object, ...], link: ChildLink
) -> object:
    async with link.connected():
        return await handler.function(context, *given)


def _completed_first(context: JobContext) -> dict[str, Any] | None:
    """What its own transaction has completed, nothing that follows can change."""
    return {"ended": "completed_in_transaction"} if context.completed else None


def _ended(error: BaseException) -> dict[str, Any]:
    if isinstance(error, MemoryError):
        return {"ended": "out_of_memory"}
    if isinstance(error, LeaseLostError):
        return {"ended": "lease_lost"}
    verdict = classify(error)
    return {
        "ended": "failed",
        "kind": verdict.kind,
        "code": verdict.code,
        "message": verdict.message,
        "reason": verdict.reason,
        "retry_after": verdict.retry_after and verdict.retry_after.total_seconds(),
        "details": verdict.details,
    }


@functools.cache
def resolve(module: str, name: str) -> Handler[..., Any]:
    """The handler at `module:name`."""
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not isinstance(found, Handler):
        raise PermanentError("HANDLER_NOT_FOUND", f"{module}:{name} is not a handler")
    return found


def _job(values: dict[str, Any]) -> ClaimedJob:
    return ClaimedJob(
        id=JobId(UUID(values["id"])),
        user_id=UUID(values["user_id"]) if values["user_id"] else None,
        project_id=UUID(values["project_id"]) if values["project_id"] else None,
        created_at=datetime.fromisoformat(values["created_at"]),
        **{
            name: values[name]
            for name in ClaimedJob.__dataclass_fields__
            if name not in {"id", "user_id", "project_id", "created_at"}
        },
    )


if __name__ == "__main__":
    main()
