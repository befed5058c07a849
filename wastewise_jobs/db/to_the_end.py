"""Awaiting what must not be left half done when the awaiting task is cancelled."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def to_the_end(awaitable: Awaitable[T]) -> T:
    """Await to the end even if cancelled meanwhile; only then does the cancellation go on.

    For short work with a limit of its own: a second Ctrl-C does not shorten it.
    """
    work = asyncio.ensure_future(awaitable)
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Asking for the work's own error also keeps asyncio from reporting it as never seen.
        raise cancelled from (None if work.cancelled() else work.exception())
    return work.result()
