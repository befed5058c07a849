"""What the state machine knows of the queue, and the loop that its plain functions run on."""

import asyncio
import threading
from collections.abc import Awaitable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from wastewise_jobs.jobs.model import JobId

T = TypeVar("T")
FINISHED = ("completed", "failed", "cancelled")


class Loop:
    """An event loop in a thread of its own: Hypothesis calls us from plain functions."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        future: Future[T] = asyncio.run_coroutine_threadsafe(wait(), self._loop)
        return future.result(timeout=30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


@dataclass
class Job:
    """What the model knows of one job."""

    id: JobId
    priority: int
    created_at: datetime
    max_retries: int
    status: str = "pending"
    due: bool = True
    fence: int = 0
    retries: int = 0
    crashes: int = 0
    cancel_requested: bool = False
    expired: bool = False
    accepted: int = 0
    # Everything its row said when it finished.
    ended_as: tuple[Any, ...] | None = None

    def wait(self, *, due: bool) -> None:
        self.status, self.due, self.expired = "pending", due, False

    def end(self, status: str) -> None:
        assert self.status not in FINISHED
        self.status, self.due, self.expired = status, False, False
        self.accepted += 1

    def begin_round(self) -> None:
        self.accepted, self.ended_as, self.cancel_requested = 0, None, False
