"""Rings after an enqueue has committed, so that idle workers look at once.

NOTIFY inside the enqueuing transaction would take an instance-wide lock at commit. Here the rings
of a queue are merged: the first goes out at once, those of the next few milliseconds in one.
A ring that cannot be sent is dropped, because every worker polls as well.
"""

import asyncio
from functools import partial

from wastewise_jobs.db.loops import Beat, Loop, jittered
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.logs import get_logger

log = get_logger(__name__)

WAKE_TOPIC = "wastewise_wake"
CANCEL_TOPIC = "wastewise_cancel"

_MERGE_SECONDS = 0.004
_IDLE_SECONDS = 60.0
_SEND_LIMIT_SECONDS = 5.0
# One statement for however many queues, each at most once.
_RING = "SELECT pg_notify($1, q) FROM unnest($2::text[]) AS q"
_RING_WITHIN = "SELECT pg_notify($1, $2)"


class Doorbell:
    """`ring(queue)` never waits and never fails; `run()` sends."""

    def __init__(
        self, pool: Pool, *, enabled: bool = True, merge_seconds: float = _MERGE_SECONDS
    ) -> None:
        self._pool = pool
        self.enabled = enabled
        self._merge_seconds = merge_seconds
        self._queues: set[str] = set()
        self._failing = False
        self.sent = 0
        self.dropped = 0
        self.beat = Beat(_IDLE_SECONDS)
        self._loop = Loop("doorbell", partial(jittered, _IDLE_SECONDS), beat=self.beat)

    def ring(self, queue: str) -> None:
        """Say that a job of this queue may be due; from the loop's own thread."""
        if self.enabled:
            self._queues.add(queue)
            self._loop.wake.hint()

    async def run(self) -> None:
        """Send until cancelled."""
        await self._loop.run(self._tick)

    async def _tick(self) -> None:
        await self.send()
        # Whatever is rung in this time goes out together.
        await asyncio.sleep(self._merge_seconds)

    async def send(self) -> None:
        """Send what was rung until now."""
        queues, self._queues = sorted(self._queues), set()
        if not queues:
            return
        try:
            async with asyncio.timeout(_SEND_LIMIT_SECONDS):
                await self._pool.execute(_RING, WAKE_TOPIC, queues)
        except asyncio.CancelledError:
            # Rung again by whoever stops the bell; twice is harmless, not at all is slow.
            self._queues.update(queues)
            raise
        except Exception as error:  # noqa: BLE001 - a loop's tick: a lost hint costs only latency
            self.dropped += len(queues)
            if not self._failing:
                text = f"{type(error).__name__}: {error}"
                log.warning(
                    "doorbell_failed", error=text, effect="workers find the jobs by polling"
                )
            self._failing = True
        else:
            self.sent += len(queues)
            self._failing = False


async def ring_within(connection: Connection, queue: str) -> None:
    """Ring in a transaction of the caller's; workers hear it when that commits."""
    await connection.execute(_RING_WITHIN, WAKE_TOPIC, queue)
