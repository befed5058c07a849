"""The poll behind the hints: rescues, and wakes whoever has something to claim.

One statement for a whole worker process, so that idle processes cost next to nothing.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from wastewise_jobs.db.loops import Backoff, Beat, Loop, jittered
from wastewise_jobs.jobs.store import JobStore, Look
from wastewise_jobs.logs import get_logger
from wastewise_jobs.workers.journal import Journal

log = get_logger(__name__)

_LEAST_SPACING_SECONDS = 0.2
_LOOK_SECONDS = 10.0
# While a lease that has expired cannot be taken: its worker has its last call, or somebody holds
# the row.
_EXPIRED_SPACING_SECONDS = 1.0


class LookLoop:
    """Looks every `interval` seconds, when the next job comes due and when a lease expires.

    `found(look)` wakes the lanes; `wake` asks for a look now, because something may come due soon.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        interval: float,
        journal: Journal,
        found: Callable[[Look], None],
    ) -> None:
        self._store = store
        self._interval = interval
        self._journal = journal
        self._found = found
        self._not_before = float("-inf")
        self._loop = Loop(
            "look",
            partial(jittered, interval),
            backoff=Backoff(cap=min(interval, 5.0)),
            beat=Beat(interval + _LOOK_SECONDS),
        )
        self.wake, self.beat = self._loop.wake, self._loop.beat

    async def run(self) -> None:
        """Look until cancelled."""
        await self._loop.run(self._look)

    async def _look(self) -> float:
        """Seconds until the next look."""
        # Hints may come in any number; looks may not.
        await asyncio.sleep(self._not_before - time.monotonic())
        self._not_before = time.monotonic() + _LEAST_SPACING_SECONDS
        async with asyncio.timeout(_LOOK_SECONDS):
            look = await self._store.look()
        self._journal.rescued(look.rescued)
        self._found(look)
        if look.rescued:
            # They come due within moments, which this look was too early to see.
            return _LEAST_SPACING_SECONDS
        delays = [jittered(self._interval)]
        if look.due_in is not None and look.due_in > 0:
            delays.append(look.due_in)
        if look.expires_in is not None:
            # Most leases are renewed before that.
            expired = look.expires_in <= 0
            delays.append(_EXPIRED_SPACING_SECONDS if expired else look.expires_in)
        return min(delays)
