"""Children that wait for work, so that a start is rarely paid for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from wastewise_jobs.children.process import Child

# A child that keeps more than this share of its limit would fail the next one's work for it.
_MOST_KEPT = 0.5


class ChildPool:
    """Starts `python -m module` when none is idle; whoever uses it bounds how many there are.

    `greet` tells a new child what it must know.
    """

    def __init__(
        self,
        module: str,
        *,
        memory_bytes: int,
        greet: Callable[[Child], None],
        longest_line: int = 65_536,
    ) -> None:
        self._module = module
        self.memory_bytes = memory_bytes
        self._greet = greet
        self._longest_line = longest_line
        self._idle: list[Child] = []
        self._all: set[Child] = set()
        self._killed: list[Child] = []

    @asynccontextmanager
    async def child(self) -> AsyncIterator[Child]:
        """A child for one thing; it is killed unless the block ends well."""
        child = await self._take()
        try:
            yield child
        except BaseException:
            self._discard(child)
            raise
        if child in self._all and child.memory_bytes < _MOST_KEPT * self.memory_bytes:
            self._idle.append(child)
        else:
            self._discard(child)

    def close(self) -> None:
        for child in list(self._all):
            self._discard(child)
        self._idle.clear()

    async def closed(self, *, within: float) -> None:
        """Return once all that were killed are gone, or after so many seconds."""
        dying = [asyncio.ensure_future(child.gone()) for child in self._killed]
        if dying:
            await asyncio.wait(dying, timeout=within)

    async def _take(self) -> Child:
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            self._all.discard(child)
        child = await Child.start(self._module, longest_line=self._longest_line)
        self._all.add(child)
        self._greet(child)
        return child

    def _discard(self, child: Child) -> None:
        child.kill()
        self._all.discard(child)
        self._killed = [*(one for one in self._killed if one.alive), child]
