"""One lane's claim loop: as many jobs as there are free slots, in one statement."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from wastewise_jobs.db.loops import Backoff, Beat, Failures
from wastewise_jobs.db.wake import Wake
from wastewise_jobs.jobs.model import ClaimedJob
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.logs import get_logger
from wastewise_jobs.workers.lanes import Lane, LastChance
from wastewise_jobs.workers.stats import WorkerStats

log = get_logger(__name__)

# Under load slots come free one by one; a statement for each would cost more than this wait.
_GATHER_SECONDS = 0.002
_ENOUGH = 4
_LAST_WORD_SECONDS = 1.0
# What a connection and a statement take at most, unless settings say otherwise.
_CLAIM_SECONDS = 30.0


class ClaimLoop:
    """Claims for one lane until told to stop; never cancelled in the middle of a claim.

    Not a `Loop`: it waits for slots as well as for hints, and after a failure no hint hurries it.
    `start(jobs, lease_until)` gets what was claimed, `known()` are all jobs that were and are not
    settled; `nothing_due()` is called when what was heard of cannot be claimed, because then
    something may come due later.
    """

    def __init__(
        self,
        lane: Lane,
        store: JobStore,
        *,
        worker_id: str,
        lease: timedelta,
        claim_at_least_every: float,
        last_chance: LastChance,
        stats: WorkerStats,
        start: Callable[[list[ClaimedJob], float], None],
        known: Callable[[], Sequence[ClaimedJob]],
        nothing_due: Callable[[], None],
    ) -> None:
        self.lane = lane
        self.wake = Wake()
        self.beat = Beat(claim_at_least_every + _CLAIM_SECONDS)
        self._store = store
        self._worker_id = worker_id
        self._lease = lease
        self._claim_at_least_every = claim_at_least_every
        self._last_chance = last_chance
        self._stats = stats
        self._start = start
        self._known = known
        self._nothing_due = nothing_due
        self._heard = False
        # A claim failed, and may have been carried out all the same.
        self._in_doubt = False
        self._stopping = False
        self._failures = Failures(f"claim {lane.name}", Backoff())
        self._pause_seconds = 0.0

    def hear(self) -> None:
        """Somebody says that something was enqueued, due now or later."""
        self._heard = True
        self.wake.hint()

    def stop(self) -> None:
        """Claim no more; the claim that is under way is finished."""
        self._stopping = True
        self.wake.hint()
        self.lane.freed.set()

    async def run(self) -> None:
        """Claim until `stop`."""
        while not self._stopping:
            self.beat.stamp()
            free = await self._enough_free()
            if not free or self._stopping:
                continue
            limit = min(free, self.lane.most_at_once)
            heard, self._heard = self._heard, False
            claimed = await self._claim(limit)
            if claimed == limit:
                continue
            if heard and claimed == 0:
                self._nothing_due()
            await self._wait_for_hint(failed=claimed is None)
        with contextlib.suppress(Exception):
            # A rescue is the other way for jobs that nobody knows of, but it charges a crash.
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await self._clear_doubt()

    async def _enough_free(self) -> int:
        """Free slots, once there is a handful; 0 after a while without any."""
        lane = self.lane
        if lane.free * _ENOUGH >= lane.most_at_once:
            return lane.free
        lane.freed.clear()
        if lane.free > 0:
            await asyncio.sleep(_GATHER_SECONDS)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._claim_at_least_every):
                    await lane.freed.wait()
        return lane.free

    async def _wait_for_hint(self, *, failed: bool) -> None:
        if failed:
            await asyncio.sleep(self._pause_seconds)
            # What was said meanwhile may be lost.
            self._heard = True
        else:
            await self.wake.wait(self._claim_at_least_every)

    async def _claim(self, limit: int) -> int | None:
        """How many were claimed; None when the database is in trouble."""
        lane = self.lane
        lane.take(limit)
        jobs: list[ClaimedJob] = []
        last_chance = self._last_chance.take(self.wake)
        # The lease counts from the server's now(), which is later than this.
        until = time.monotonic() + self._lease.total_seconds()
        try:
            await self._clear_doubt()
            self._in_doubt = True
            jobs = await self._store.claim(
                self._worker_id,
                lane.queues,
                lane.job_types,
                limit,
                self._lease,
                last_chance=last_chance,
            )
            self._in_doubt = False
        except Exception as error:  # noqa: BLE001 - a loop's tick: claiming goes on for ever
            self._stats.claim_errors += 1
            self._pause_seconds = self._failures.met(error)
            return None
        finally:
            lane.give_back(limit - len(jobs))
            if last_chance and not any(job.on_last_chance for job in jobs):
                self._last_chance.give_back()
        self._failures.over()
        if jobs:
            self._start(jobs, until)
        return len(jobs)

    async def _clear_doubt(self) -> None:
        """Give back what a claim whose answer was lost has taken: nobody here knows of it."""
        if not self._in_doubt:
            return
        lane = self.lane
        released = await self._store.release_unknown(
            self._worker_id, lane.queues, lane.job_types, self._known()
        )
        self._in_doubt = False
        if released:
            self._stats.released += len(released)
            log.info("jobs_released", count=len(released), loop=f"claim {lane.name}")
