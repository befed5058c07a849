"""Handlers that child processes import by name."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from wastewise_jobs import JobContext, Jobs, PermanentError, RetryableError

jobs = Jobs()
MEMORY = 256 * 1024 * 1024


class Order(BaseModel):
    act: str
    path: str = ""


@jobs.handler("in_process", run_in="process", max_retries=5)
def in_process(job: JobContext, input: Order) -> dict[str, Any]:
    match input.act:
        case "work":
            job.record_ai_usage(requests=2)
            sys.stdout.write("a print must not break the protocol\n")
            return {"pid": os.getpid(), "attempt": job.attempt, "id": str(job.id)}
        case "raise":
            raise PermanentError("NO", "said the child", details={"n": 1})
        case "later":
            raise RetryableError("later")
        case "odd":
            return {"nan": float("nan")}
        case "exit" | "segfault" | "kill":
            _die(input.act)
        case "hang":
            with subprocess.Popen(["sleep", "60"]) as grandchild:
                Path(input.path).write_text(f"{os.getpid()} {grandchild.pid}", encoding="ascii")
                time.sleep(60)
        case "until cancelled":
            Path(input.path).write_text(str(os.getpid()), encoding="ascii")
            job.progress(50, "half")
            while not job.cancelled:
                time.sleep(0.01)
    return {}


@jobs.handler("harms", run_in="process", max_retries=5)
def harms(job: JobContext, input: Order) -> None:
    match input.act:
        case "hold the interpreter":
            job.progress(1, "about to hang")
            # As a C function that never gives up the interpreter's lock: no thread runs any more.
            ctypes.PyDLL(None).sleep(1000)
        case "fill":
            bytearray(2 * MEMORY)
        case "fill slowly":
            hoard: list[bytes] = []
            while True:
                hoard.append(os.urandom(1024))
        case "abort":
            os.abort()
        case "flood":
            for n in range(200_000):
                job.progress(n / 2000, f"{n} " + "x" * 2000)
        case "flood with one":
            job.progress(1, "x" * 20 * 1024 * 1024)


def _die(how: str) -> None:
    if how == "exit":
        os._exit(7)
    elif how == "segfault":
        ctypes.string_at(0)
    os.kill(os.getpid(), signal.SIGKILL)


@jobs.handler("async_in_process", run_in="process")
async def async_in_process(job: JobContext) -> str:
    await asyncio.sleep(0)
    return job.job_type


@jobs.handler("leaves_a_thread", run_in="process")
def leaves_a_thread(job: JobContext) -> None:
    threading.Thread(target=_report_for_ever, args=(job,), daemon=True).start()


_reported = threading.Semaphore(0)


def _report_for_ever(job: JobContext) -> None:
    while True:
        job.progress(77, "of another job")
        _reported.release()
        time.sleep(0.01)


@jobs.handler("says_nothing", run_in="process")
def says_nothing(job: JobContext) -> None:
    while _reported.acquire(blocking=False):
        pass
    # Often enough for what others say in its name to be sent and written, were it heard.
    for _ in range(50):
        assert _reported.acquire(timeout=10)


@jobs.handler("sets_in_process", run_in="process")
async def sets_in_process(job: JobContext, input: dict[str, str]) -> None:
    async with job.transaction() as connection:
        await connection.execute(input["statement"])
    async with job.connection() as connection:
        assert await connection.fetchval("SELECT current_user = session_user")
