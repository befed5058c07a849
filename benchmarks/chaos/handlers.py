"""The handlers of the fleet, which runs `worker --app benchmarks.chaos.handlers:jobs`.

Each writes a line into its process's own file when it begins and when it reaches its end, and
returns its fence, so that the row tells whose result it holds.
"""

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from benchmarks.chaos import odd, poison
from wastewise_jobs import JobContext, Jobs, PermanentError, RetryableError

jobs = Jobs()

_PROCESS = os.environ.get("CHAOS_PROCESS", "nobody")
_FOLDER = os.environ.get("CHAOS_RUNS")


class Work(BaseModel):
    """How long to be at work; `key` is the client's own name for the job."""

    seconds: float = 0.0
    key: str = ""
    act: str = ""


class _Diary:
    """One `write` a line, so that a kill cuts between lines."""

    def __init__(self) -> None:
        self._file = -1

    def write(self, mark: str, job: JobContext) -> None:
        if _FOLDER is None:
            return
        if self._file < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._file = os.open(Path(_FOLDER, _PROCESS), flags, 0o644)
        line = f"{mark} {job.id} {fence_of(job)} {time.monotonic():.6f}\n"
        os.write(self._file, line.encode("ascii"))


_diary = _Diary()


def fence_of(job: JobContext) -> int:
    """Handlers need no fence; the history does."""
    return job._job.fence


def _end(job: JobContext) -> dict[str, Any]:
    _diary.write("ended", job)
    return {"fence": fence_of(job), "process": _PROCESS}


@jobs.handler("work", timeout=120)
async def work(job: JobContext, input: Work) -> dict[str, Any]:
    """Wait, as for somebody else's answer."""
    _diary.write("began", job)
    if input.seconds > 1:
        job.progress(1, "waiting")
    await asyncio.sleep(input.seconds)
    return _end(job)


@jobs.handler("block", timeout=120)
async def block(job: JobContext, input: Work) -> dict[str, Any]:
    """Hold up the event loop, as no handler should."""
    _diary.write("began", job)
    time.sleep(input.seconds)  # noqa: ASYNC251 - the very thing
    return _end(job)


@jobs.handler("in_thread", timeout=120)
def in_thread(job: JobContext, input: Work) -> dict[str, Any]:
    """Wait in a thread, and look whether to go on."""
    _diary.write("began", job)
    until = time.monotonic() + input.seconds
    while time.monotonic() < until:
        if job.cancelled:
            raise RetryableError("stopped before the end")
        time.sleep(0.01)
    return _end(job)


@jobs.handler("in_process", timeout=120, run_in="process")
def in_process(job: JobContext, input: Work) -> dict[str, Any]:
    """Wait in a child process."""
    _diary.write("began", job)
    time.sleep(input.seconds)
    return _end(job)


@jobs.handler("effect", timeout=120)
async def effect(job: JobContext, input: Work) -> None:
    """Write something in the transaction that completes the job."""
    _diary.write("began", job)
    await asyncio.sleep(input.seconds)
    async with job.transaction() as connection:
        await connection.execute(
            "INSERT INTO chaos.effects (job_id, fence) VALUES ($1, $2)", job.id, fence_of(job)
        )
        job.set_result(_end(job))


@jobs.handler("refuse", timeout=120)
async def refuse(job: JobContext, _: Work) -> None:
    """Fail for good."""
    _diary.write("began", job)
    raise PermanentError("REFUSED", "as it was told to")


@jobs.handler("poison", timeout=2, max_retries=2)
async def poisonous(job: JobContext, input: Work) -> dict[str, Any]:
    """Do harm in the worker's own process."""
    _diary.write("began", job)
    await poison.in_loop(input.act)
    return _end(job)


@jobs.handler("poison_in_process", timeout=2, max_retries=2, run_in="process")
def poisonous_in_process(job: JobContext, input: Work) -> dict[str, Any]:
    """Do harm in a child process."""
    _diary.write("began", job)
    poison.in_process(input.act)
    return _end(job)


@jobs.handler("odd", timeout=20, max_retries=1)
async def odd_one(job: JobContext, input: Work) -> Any:
    """Return, raise or report what breaks programs."""
    return odd.perform(job, input.act)


@jobs.handler("odd_in_thread", timeout=20, max_retries=1)
def odd_in_thread(job: JobContext, input: Work) -> Any:
    """The same in a thread."""
    return odd.perform(job, input.act)


@jobs.handler("odd_in_process", timeout=20, max_retries=1, run_in="process")
def odd_in_process(job: JobContext, input: Work) -> Any:
    """The same in a child process."""
    return odd.perform(job, input.act)


@jobs.handler("echo", timeout=20, max_retries=1)
async def echo(job: JobContext, input: dict[str, Any]) -> Any:
    """Give back whatever came in, and say it while at work."""
    job.progress(50, str(input)[:2000])
    return input


@jobs.handler("census", timeout=20)
async def census(job: JobContext, _: Work) -> dict[str, Any]:
    """Count what may pile up in a process."""
    _diary.write("began", job)
    return _end(job) | {"tasks": len(asyncio.all_tasks()), "threads": threading.active_count()}
