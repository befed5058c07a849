"""A child process as its parent sees it: pipes, and the way to be rid of it."""

import asyncio
import contextlib
import os
import signal
import sys

import psutil

from wastewise_jobs.children.confine import OUT_OF_MEMORY_EXIT

DIED = "WORKER_PROCESS_DIED"
OUT_OF_MEMORY = "OUT_OF_MEMORY"


class ChildDiedError(Exception):
    """The child ended without an answer; `out_of_memory` when it was refused memory."""

    def __init__(self, how: str, *, out_of_memory: bool = False) -> None:
        super().__init__(how)
        self.out_of_memory = out_of_memory


class Child:
    """One process; `commands` and `answers` are its stdin and stdout."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ChildDiedError("started without pipes")
        self._process = process
        self.commands = process.stdin
        self.answers = process.stdout

    @classmethod
    async def start(cls, module: str, *, longest_line: int = 65_536) -> "Child":
        """Start `python -m module`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=longest_line,
            start_new_session=True,
            # The child imports this package before it is told our path.
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        """Whether it has not been seen to end."""
        return self._process.returncode is None

    @property
    def memory_bytes(self) -> int:
        """What it takes now."""
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    async def died(self) -> ChildDiedError:
        """How it ended, once it has."""
        code = await self._process.wait()
        return ChildDiedError(_how_it_ended(code), out_of_memory=_was_refused_memory(code))

    async def gone(self) -> None:
        """Return once it has ended and its pipes are closed, as its loop cannot be before."""
        await self._process.communicate()

    def kill(self) -> None:
        """The child and whatever it has started."""
        if not self.alive:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)


def out_of_memory_message(memory_bytes: int) -> str:
    """What to do about it."""
    limit = memory_bytes // 1024**2
    return (
        f"it needs more than the {limit} MB of memory that one job may take: "
        "give it fewer or smaller files, or raise COMPUTE_MEMORY_MB"
    )


def _was_refused_memory(code: int) -> bool:
    # Libraries in C and Rust abort when they are refused memory; Python raises, and says so.
    return code in {OUT_OF_MEMORY_EXIT, -signal.SIGABRT}


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
