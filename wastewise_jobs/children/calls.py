"""Calls of plain functions in child processes: for parsing what strangers have uploaded."""

import asyncio
import os
import pickle
import struct
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, TypeVarTuple

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

LENGTH = struct.Struct("!Q")
_LONGEST_ANSWER = 64 * 1024 * 1024


class Children:
    """At most `most` processes, started when they are wanted; `close` kills them.

    `memory_bytes` is what each of them may take.
    """

    def __init__(self, most: int, *, memory_bytes: int) -> None:
        self._free = asyncio.Semaphore(most)
        self._memory_bytes = memory_bytes
        self._idle: list[Child] = []
        self._all: set[Child] = set()

    async def run(self, function: Callable[[*Ts], T], *args: *Ts, timeout: timedelta) -> T:  # noqa: ASYNC109 - kills
        """Return what the function returns, or raise what it raises.

        The function must be importable by its name, and values must pickle. The time counts from
        when a child is free. Raises TimeoutError when it has passed, PermanentError with code
        OUT_OF_MEMORY, and RetryableError when the process died. Then, and when the call is
        cancelled, the child is killed, with whatever computes in it.
        """
        async with self._free:
            child: Child | None = None
            answered = False
            try:
                async with asyncio.timeout(timeout.total_seconds()):
                    child = await self._take()
                    answer, value = await _call(child, function, args)
                answered = not isinstance(value, MemoryError)
            except ChildDiedError as error:
                raise self._failure(error) from error
            finally:
                self._put_back(child, usable=answered)
        if answer == "returned":
            result: T = value
            return result
        if isinstance(value, MemoryError):
            raise PermanentError(OUT_OF_MEMORY, out_of_memory_message(self._memory_bytes))
        raise value

    def close(self) -> None:
        """Kill all of them: whoever still computes has lost whoever waited for it."""
        for child in self._all:
            child.kill()
        self._all.clear()
        self._idle.clear()

    async def _take(self) -> Child:
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            self._all.discard(child)
        child = await Child.start("wastewise_jobs.children.callee")
        self._all.add(child)
        _send(child, (self._memory_bytes, os.getpid(), sys.path))
        return child

    def _put_back(self, child: Child | None, *, usable: bool) -> None:
        if child is None:
            return
        if usable and child in self._all:
            self._idle.append(child)
        else:
            child.kill()
            self._all.discard(child)

    def _failure(self, error: ChildDiedError) -> Exception:
        if error.out_of_memory:
            return PermanentError(OUT_OF_MEMORY, out_of_memory_message(self._memory_bytes))
        return RetryableError(f"the process that computed it {error}", code=DIED)


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
    answer: tuple[str, Any] = pickle.loads(raw)  # noqa: S301 - our own process
    return answer


def _send(child: Child, value: object) -> None:
    raw = pickle.dumps(value)
    child.commands.write(LENGTH.pack(len(raw)) + raw)
