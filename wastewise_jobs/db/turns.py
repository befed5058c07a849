"""First come, first served: asyncpg's pool with an orderly queue.

asyncpg lets a newcomer take the connection that was just given back for somebody who waits, and
puts whoever was robbed at the end again: under load some wait a hundred times as long as others.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionHolder

if TYPE_CHECKING:
    _Holder: TypeAlias = PoolConnectionHolder[asyncpg.Record]
    _Holders: TypeAlias = asyncio.LifoQueue[_Holder]
    _Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    # Private and generic only in their stubs, or the other way round.
    from asyncpg.pool import _PoolConnectionHolderQueue as _Holders

    _Pool = asyncpg.Pool


class Turns(_Holders):
    """The free connections; what is given back goes straight to whoever has waited longest."""

    def __init__(self, holders: "Sequence[_Holder]") -> None:
        super().__init__(maxsize=len(holders))
        self._turns: deque[asyncio.Future[_Holder]] = deque()
        for holder in holders:
            self.put_nowait(holder)

    async def get(self) -> "_Holder":
        """A free one, when it is our turn."""
        if not self.empty():
            return self.get_nowait()
        turn: asyncio.Future[_Holder] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with contextlib.suppress(ValueError):
                    self._turns.remove(turn)
            else:
                # It came at the very moment of the cancellation.
                self.put_nowait(turn.result())
            raise

    def put_nowait(self, item: "_Holder") -> None:
        """Give one back; nobody who comes later takes it from whoever waits."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(item)
                return
        super().put_nowait(item)


class FairPool(_Pool):
    """asyncpg's pool, with that queue."""

    _queue: "_Holders"

    async def _initialize(self) -> None:
        await super()._initialize()  # type: ignore[misc]  # not in their stubs
        self._queue = Turns([self._queue.get_nowait() for _ in range(self._queue.qsize())][::-1])
