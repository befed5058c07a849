"""The command line as a user has it: real processes, their output and their exit codes."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from tests.support.waiting import Process, eventually, start_process
from wastewise_jobs.settings import Settings

SECRET = "a secret that is long enough for HS256"
# Whatever the environment of the tests says about the service counts for nothing here.
BLANK: dict[str, str | None] = (
    dict.fromkeys(("https_proxy", "http_proxy", "no_proxy"))
    | {name.upper(): None for name in Settings.model_fields if name != "wastewise_pg_bin"}
    | {"COLUMNS": "120", "PYTHONWARNINGS": "error"}
)

APP = """
import asyncio
from pathlib import Path
from wastewise_jobs import JobContext, Jobs

jobs = Jobs()

@jobs.handler("wait_for_file", timeout=60)
async def wait_for_file(job: JobContext, input: dict) -> dict:
    Path(input["folder"], f"attempt-{job.attempt}").touch()
    with open(Path(input["folder"], "runs"), "a") as runs:
        runs.write("run\\n")
    while not Path(input["folder"], "go-on").exists():
        await asyncio.sleep(0.02)
    return {"attempt": job.attempt}
"""


async def run(
    *args: str, env: Mapping[str, str | None], cwd: Path
) -> "subprocess.CompletedProcess[str]":
    """`wastewise-jobs args...` to its end."""
    async with start_process_apart(*args, env=env, cwd=cwd) as (process, out):
        code = await process.ended(within=90)
        return subprocess.CompletedProcess(args, code, out.read_text(), process.said())


@asynccontextmanager
async def start_process_apart(
    *args: str, env: Mapping[str, str | None], cwd: Path
) -> AsyncIterator[tuple[Process, Path]]:
    """As `start`, with stdout in a file of its own; what the process `said` is stderr."""
    out = cwd / "stdout"
    # The shell would only stand between us and the process: Python opens the file itself.
    redirect = (
        "import os, runpy, sys; fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC);"
        "os.dup2(fd, 1); sys.argv = ['wastewise-jobs', *sys.argv[2:]];"
        "runpy.run_module('wastewise_jobs', run_name='__main__')"
    )
    async with start_process("-c", redirect, str(out), *args, env=BLANK | dict(env), cwd=cwd) as p:
        yield p, out


@asynccontextmanager
async def start(
    *args: str, env: Mapping[str, str | None], cwd: Path | None = None
) -> AsyncIterator[Process]:
    """`wastewise-jobs args...` in the background, stopped at the end."""
    async with start_process(
        "-m", "wastewise_jobs", *args, env=BLANK | dict(env), cwd=cwd
    ) as process:
        yield process


async def address_of(process: Process) -> str:
    """Where its API listens, as its log says."""
    await eventually(lambda: process.has_said('"api_started"'), within=60)
    return str(events(process, "api_started")[0]["url"])


def events(process: Process, name: str) -> list[dict[str, object]]:
    """The records of that event."""
    lines = re.findall(r"^\{.*\}$", process.said(), re.MULTILINE)
    return [record for line in lines if (record := json.loads(line))["event"] == name]


def processes_of(home: Path) -> list[str]:
    """What still runs on that folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "pid"]):
        command = " ".join(process.info["cmdline"] or ())
        if str(home) in command:
            found.append(command)
    return found


async def token(env: Mapping[str, str | None], cwd: Path, *args: str) -> str:
    """A bearer token for the service of that environment."""
    user = ("--user", "7b0f9a52-3c1d-4e8f-9a6b-2d5e8c1f0a37")
    done = await run("token", *(args or user), env=env, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def in_thread(command: list[str]) -> str:
    """The output of a short command that is not ours."""
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


PYTHON = sys.executable
