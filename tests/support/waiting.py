"""Waiting for conditions instead of for time, and real processes under test."""

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from pwd import struct_passwd
from typing import IO, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    check: Callable[[], Awaitable[T]], *, within: float = ..., every: float = ...
) -> T: ...
@overload
async def eventually(check: Callable[[], T], *, within: float = ..., every: float = ...) -> T: ...
async def eventually(
    check: Callable[[], T | Awaitable[T]], *, within: float = 10.0, every: float = 0.02
) -> T:
    """Call `check` until it returns something truthy, and return that.

    An AssertionError counts as "not yet". `check` may be a coroutine function. Fails with the last
    failure, or the last value, when the time is up.
    """
    until = time.monotonic() + within
    while True:
        failure: AssertionError | None = None
        value: T | None = None
        try:
            found = check()
            value = await found if inspect.isawaitable(found) else found
            if value:
                return value
        except AssertionError as error:
            failure = error
        if time.monotonic() > until:
            message = f"not within {within} s: {failure or f'last value {value!r}'}"
            raise AssertionError(message) from failure
        await asyncio.sleep(every)


@dataclass(frozen=True, slots=True)
class Process:
    """A process of ours, started in a session of its own, writing into a file."""

    popen: subprocess.Popen[bytes]
    output: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def said(self) -> str:
        """Everything it wrote so far, both streams."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def has_said(self, words: str) -> bool:
        """For eventually(); fails at once with the output if it ended without saying it."""
        if words in self.said():
            return True
        if self.popen.poll() is not None and words not in self.said():
            raise ProcessEndedError(self)
        return False

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    async def ended(self, *, within: float = 30.0) -> int:
        """The exit code."""
        await eventually(lambda: self.popen.poll() is not None, within=within)
        return int(self.popen.returncode)


class ProcessEndedError(Exception):
    def __init__(self, process: Process) -> None:
        super().__init__(f"ended with {process.popen.returncode}, saying:\n{process.said()}")


@asynccontextmanager
async def start_process(
    *args: str,
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    python: str = sys.executable,
    user: struct_passwd | None = None,
) -> AsyncIterator[Process]:
    """Start `python args...`; at the end it is stopped by SIGTERM, then killed.

    `env` is laid over ours; None as a value removes a variable. Our command line is
    `start_process("-m", "wastewise_jobs", "serve")`.
    """
    changes = env or {}
    kept = {name: value for name, value in os.environ.items() if name not in changes}
    added = {name: value for name, value in changes.items() if value is not None}
    with tempfile.NamedTemporaryFile(prefix="wwj-process-", suffix=".log") as output:
        popen = _popen((python, *args), kept | added, cwd, output.file, user)
        process = Process(popen, Path(output.name))
        try:
            yield process
        finally:
            await _stop(process)


def _popen(
    command: tuple[str, ...],
    env: Mapping[str, str],
    cwd: Path | None,
    output: IO[bytes],
    user: struct_passwd | None,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )


async def _stop(process: Process) -> None:
    if process.popen.poll() is None:
        process.send(signal.SIGTERM)
        try:
            await process.ended(within=20)
        except AssertionError:
            process.send(signal.SIGKILL)
    process.popen.wait(timeout=20)
