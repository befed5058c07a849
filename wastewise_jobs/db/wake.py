"""Waking what waits for work."""

import asyncio
import contextlib


class Wake:
    """Tells an idle loop that a job may be due.

    A hint, never a promise: one NOTIFY may wake ten workers for one job, and a lost one wakes
    nobody. So every wait has a limit, and waking always means "go and look", never "there is
    work".
    """

    def __init__(self) -> None:
        self._hinted = asyncio.Event()

    def hint(self) -> None:
        """Wake the waiter, or the next one; only from the loop's own thread."""
        self._hinted.set()

    async def wait(self, at_most: float) -> bool:
        """Wait for a hint, at most that many seconds; whether one came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most):
                await self._hinted.wait()
        hinted = self._hinted.is_set()
        # Cleared before the caller looks, not after: a hint that comes while it is looking must
        # outlive the look, or its job sleeps a whole poll interval.
        self._hinted.clear()
        return hinted
