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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from importlib import import_module
from queue import SimpleQueue
from typing import IO, Any
from uuid import UUID

import orjson

from wastewise_jobs.db.pool import Connection
from wastewise_jobs.errors import PermanentError
from wastewise_jobs.handlers.context import JobContext
from wastewise_jobs.handlers.handler import Handler
from wastewise_jobs.jobs.failure import classify
from wastewise_jobs.jobs.model import ClaimedJob, JobId, Progress
from wastewise_jobs.logs import configure_logging
from wastewise_jobs.workers.run import completed

_ORPHANED = 1


class ChildLink:
    """What a context can do in a child: tell its progress, until its job is done."""

    def __init__(self, answers: IO[bytes]) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self._current: JobContext | None = None

    def start(self, context: JobContext) -> None:
        """The timeout counts from now."""
        with self._lock:
            self._current = context
            self._send(started=True)

    def finish(self, outcome: dict[str, Any]) -> None:
        """Whatever threads the handler has left behind are heard no more."""
        with self._lock:
            self._current = None
            self._send(done=outcome)

    def report_progress(self, context: JobContext, progress: Progress) -> None:
        """From any thread; the parent merges them."""
        with self._lock:
            if context is self._current:
                self._send(progress=progress)

    def _send(self, **message: object) -> None:
        self._answers.write(orjson.dumps(message) + b"\n")
        self._answers.flush()

    @asynccontextmanager
    async def transaction(self, _context: JobContext) -> AsyncIterator[Connection]:
        """A child has no connection; says so."""
        raise PermanentError(
            "NO_TRANSACTION_IN_PROCESS", "job.transaction() is for handlers that run in the loop"
        )
        yield  # pragma: no cover


def main() -> None:
    """Run jobs until stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    link = ChildLink(answers)
    jobs: SimpleQueue[tuple[dict[str, Any], JobContext]] = SimpleQueue()
    setup = orjson.loads(sys.stdin.buffer.readline())
    sys.path[:] = setup["path"]
    configure_logging(setup["log_level"], setup["log_format"])
    threading.Thread(target=_listen, args=(jobs, link), daemon=True).start()
    while True:
        command, context = jobs.get()
        link.finish(_run(command, context, link))


def _listen(jobs: SimpleQueue[tuple[dict[str, Any], JobContext]], link: ChildLink) -> None:
    context: JobContext | None = None
    for line in sys.stdin.buffer:
        command = orjson.loads(line)
        if "job" in command:
            # Made here, so that a cancellation that follows at once finds it.
            context = JobContext(_job(command["job"]), link)
            jobs.put((command, context))
        elif context is not None:
            context.cancel()
    os._exit(_ORPHANED)


def _run(command: dict[str, Any], context: JobContext, link: ChildLink) -> dict[str, Any]:
    try:
        handler = resolve(command["module"], command["name"])
        text = command["job"]["input_json"]
        given = (handler.parse_input(text),) if handler.signature.wants_input else ()
        # The imports are done.
        link.start(context)
        if handler.signature.is_async:
            outcome = completed(context, asyncio.run(handler.function(context, *given)))
        else:
            outcome = completed(context, handler.function(context, *given))
    except BaseException as error:  # noqa: BLE001 - a handler's run: whatever it raises
        verdict = classify(error)
        return {
            "kind": verdict.kind,
            "code": verdict.code,
            "message": verdict.message,
            "reason": verdict.reason,
            "retry_after": verdict.retry_after and verdict.retry_after.total_seconds(),
            "details": verdict.details,
        }
    return {"result": outcome.result_json, "usage": outcome.ai_usage}


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
