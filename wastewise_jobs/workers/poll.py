"""The poll behind the hints: rescues, and wakes whoever has something to claim.

One statement for a whole worker process, so that idle processes cost next to nothing.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from wastewise_jobs.db.loops import Backoff, Beat, Loop, jittered
from wastewise_jobs.jobs.store import JobStore, Polled
from wastewise_jobs.workers.journal import JobsRescued, Journal

_LEAST_SPACING_SECONDS = 0.2
_POLL_SECONDS = 10.0
# While a lease that has expired cannot be taken: its worker has its last call, or somebody holds
# the row.
_EXPIRED_SPACING_SECONDS = 1.0


class PollLoop:
    """Polls every `interval` seconds, when the next job comes due and when a lease expires.

    `found(polled)` wakes the lanes; `wake` polls now: something may come due soon.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        interval: float,
        journal: Journal,
        found: Callable[[Polled], None],
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
            beat=Beat(interval + _POLL_SECONDS),
        )
        self.wake, self.beat = self._loop.wake, self._loop.beat

    async def run(self) -> None:
        """Poll until cancelled."""
        await self._loop.run(self._poll)

    async def _poll(self) -> float:
        """Seconds until the next poll."""
        # Hints may come in any number; polls may not.
        await asyncio.sleep(self._not_before - time.monotonic())
        self._not_before = time.monotonic() + _LEAST_SPACING_SECONDS
        async with asyncio.timeout(_POLL_SECONDS):
            polled = await self._store.poll()
        self._journal.tell(JobsRescued(polled.rescued))
        self._found(polled)
        if polled.rescued:
            # They come due within moments, which this poll was too early to see.
            return _LEAST_SPACING_SECONDS
        delays = [jittered(self._interval)]
        if polled.due_in is not None and polled.due_in > 0:
            delays.append(polled.due_in)
        if polled.expires_in is not None:
            # Most leases are renewed before that.
            expired = polled.expires_in <= 0
            delays.append(_EXPIRED_SPACING_SECONDS if expired else polled.expires_in)
        return min(delays)
