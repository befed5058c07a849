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


def _report_for_ever(job: JobContext) -> None:
    while True:
        job.progress(77, "of another job")
        time.sleep(0.01)


@jobs.handler("says_nothing", run_in="process")
def says_nothing(job: JobContext) -> None:
    # Long enough for what others say in its name to be written.
    time.sleep(0.5)
