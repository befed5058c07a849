"""What a poison job does to the process that runs it."""

import asyncio
import ctypes
import os
import resource
import signal
import time

# In the worker's own process: its death, its silence, its loop.
IN_LOOP = ("kill", "exit", "hang", "block", "spin")
# In a child process, where worse can be borne.
IN_PROCESS = ("kill", "segfault", "hang", "spin", "leak")

# Beyond the timeout of the handler.
_BLOCKS_FOR_SECONDS = 2.6
_LEAK_LIMIT_BYTES = 512 * 1024 * 1024


async def in_loop(act: str) -> None:
    """Harm the worker itself."""
    match act:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(7)
        case "hang":
            await asyncio.Event().wait()
        case "block":
            time.sleep(_BLOCKS_FOR_SECONDS)  # noqa: ASYNC251 - the very thing
        case "spin":
            while True:
                pass
        case _:
            raise ValueError(act)


def in_process(act: str) -> None:
    """Harm a child process, for ever where it can be for ever."""
    match act:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "hang":
            signal.pause()
        case "spin":
            while True:
                pass
        case "leak":
            _leak()
        case _:
            raise ValueError(act)


def _leak() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_LEAK_LIMIT_BYTES, _LEAK_LIMIT_BYTES))
    kept = []
    while True:
        kept.append(bytearray(16 * 1024 * 1024))
