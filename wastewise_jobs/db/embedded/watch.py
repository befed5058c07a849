"""Brings an embedded server back while somebody uses it, whoever killed it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from wastewise_jobs.db.loops import Backoff, Loop, jittered
from wastewise_jobs.db.to_the_end import to_the_end

_LOOP = "watch embedded postgres"
_LOOK_SECONDS = 2.0
_LONGEST_BACKOFF_SECONDS = 60.0


@asynccontextmanager
async def watched(
    lives: Callable[[], Awaitable[bool]], bring_back: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Call `bring_back` whenever the server does not live; neither runs any more after the end."""
    task = asyncio.create_task(_watch(lives, bring_back), name=_LOOP)
    try:
        yield
    finally:
        task.cancel()
        await to_the_end(asyncio.gather(task, return_exceptions=True))


async def _watch(
    lives: Callable[[], Awaitable[bool]], bring_back: Callable[[], Awaitable[None]]
) -> None:
    async def look() -> None:
        if not await lives():
            await bring_back()

    every = partial(jittered, _LOOK_SECONDS)
    backoff = Backoff(first=_LOOK_SECONDS, cap=_LONGEST_BACKOFF_SECONDS)
    # It has just been seen to live.
    await asyncio.sleep(every())
    await Loop(_LOOP, every, backoff=backoff).run(look)
