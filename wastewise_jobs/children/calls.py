"""Calls of plain functions in child processes: for parsing what strangers have uploaded."""

import asyncio
import os
import pickle
import struct
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, TypeVarTuple

from wastewise_jobs.children.pool import ChildPool
from wastewise_jobs.children.process import (
    DIED,
    OUT_OF_MEMORY,
    Child,
    ChildDiedError,
    out_of_memory_message,
)
from wastewise_jobs.errors import PermanentError, RetryableError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RETURNED, RAISED = "returned", "raised"
LENGTH = struct.Struct("!Q")
# A killed process is gone at once, unless the system is.
_LONGEST_DEATH_SECONDS = 1.0
_LONGEST_ANSWER = 64 * 1024 * 1024


class Children:
    """At most `most` processes, started when they are wanted; `close` kills them.

    `memory_bytes` is what each of them may take.
    """

    def __init__(self, most: int, *, memory_bytes: int) -> None:
        self._free = asyncio.Semaphore(most)
        self._pool = ChildPool(
            "wastewise_jobs.children.callee", memory_bytes=memory_bytes, greet=self._greet
        )

    async def run(self, function: Callable[[*Ts], T], *args: *Ts, timeout: timedelta) -> T:  # noqa: ASYNC109 - kills
        """Return what the function returns, or raise what it raises.

        The function must be importable by its name, and values must pickle. The time counts from
        when a child is free. Raises TimeoutError when it has passed, PermanentError with code
        OUT_OF_MEMORY, and RetryableError when the process died. Then, and when the call is
        cancelled, the child is killed, with whatever computes in it.
        """
        try:
            async with (
                self._free,
                asyncio.timeout(timeout.total_seconds()),
                self._pool.child() as child,
            ):
                answer, value = await _call(child, function, args)
        except ChildDiedError as error:
            if error.out_of_memory:
                message = out_of_memory_message(self._pool.memory_bytes)
                raise PermanentError(OUT_OF_MEMORY, message) from error
            raise RetryableError(f"the process that computed it {error}", code=DIED) from error
        if answer == RAISED:
            raise value
        result: T = value
        return result

    async def close(self) -> None:
        """Kill all of them: whoever still computes has lost whoever waited for it."""
        self._pool.close()
        await self._pool.closed(within=_LONGEST_DEATH_SECONDS)

    def _greet(self, child: Child) -> None:
        _send(child, (self._pool.memory_bytes, os.getpid(), sys.path))


async def _call(
    child: Child, function: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[str, Any]:
    _send(child, (function, args))
    try:
        await child.commands.drain()
        (length,) = LENGTH.unpack(await child.answers.readexactly(LENGTH.size))
        if length > _LONGEST_ANSWER:
            raise ChildDiedError(f"answered {length} bytes")
        raw = await child.answers.readexactly(length)
    except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError):
        raise await child.died() from None
    answer, value = pickle.loads(raw)  # noqa: S301 - our own process
    if isinstance(value, MemoryError):
        raise ChildDiedError("was refused memory", out_of_memory=True)
    return answer, value


def _send(child: Child, value: object) -> None:
    raw = pickle.dumps(value)
    child.commands.write(LENGTH.pack(len(raw)) + raw)
