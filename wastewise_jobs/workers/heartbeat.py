"""Renews the leases of everything that runs, from a thread with its own loop and connection.

So a handler that blocks the event loop keeps its job; what bounds it is its deadline. Whatever the
thread learns it posts to the worker's loop, which is the only one that touches runs. The watch of
that loop lives in the thread as well.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import psutil

from wastewise_jobs.db.connect import connect
from wastewise_jobs.db.loops import Backoff, Beat, Loop, jittered
from wastewise_jobs.db.pool import Connection, connect_options
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.logs import get_logger
from wastewise_jobs.workers.loop_watch import LoopWatch
from wastewise_jobs.workers.run import Run, lease_margin
from wastewise_jobs.workers.stats import WorkerStats
from wastewise_jobs.workers.store import WorkerHealth, WorkerIdentity, WorkerStore

log = get_logger(__name__)

_GOODBYE_SECONDS = 1.0
# A rescue gives two seconds more to a lease that has expired: less than that after whatever kept
# us from renewing is over, we have renewed it.
_RETRY_AT_MOST_SECONDS = 1.0
_AGAIN_SECONDS = 0.5
# For so long after a look at a row that somebody held nobody can have rescued its job.
_HELD_ROW_SECONDS = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the thread needs of its worker; `lost` and `cancelled` are called in the loop."""

    loop: asyncio.AbstractEventLoop
    loop_watch: LoopWatch
    runs: set[Run]
    draining: Callable[[], bool]
    listening: Callable[[], bool]
    lost: Callable[[Run], None]
    cancelled: Callable[[Run], None]


class Heartbeat:
    """The thread; `start()` it, and `stop()` it last."""

    def __init__(
        self,
        dsn: str,
        *,
        store: JobStore,
        identity: WorkerIdentity,
        watched: Watched,
        lease: timedelta,
        interval: timedelta,
        poll_interval: timedelta,
        stats: WorkerStats,
        statement_cache_size: int | None = None,
    ) -> None:
        self._dsn = dsn
        self._store = store
        self._row = WorkerStore()
        self._identity = identity
        self._watched = watched
        self._lease = lease
        self._interval = interval.total_seconds()
        self._poll_interval = poll_interval.total_seconds()
        self._stats = stats
        self._statement_cache_size = statement_cache_size
        self._limit = max(min(lease.total_seconds() / 3, 10.0), 0.5)
        self._thread = threading.Thread(target=self._run, name="wastewise heartbeat", daemon=True)
        self._wake: Callable[[], object] = lambda: None
        self._process = psutil.Process()
        self._connection: Connection | None = None
        self._row_written = float("-inf")
        self._due_at = float("-inf")
        # Held but not renewed: somebody else's transaction has the row.
        self._again: list[Run] = []
        self.beat = Beat(self._interval + self._limit)
        self._ticks = Loop(
            "heartbeat",
            partial(jittered, self._interval),
            backoff=Backoff(first=0.2, cap=min(_RETRY_AT_MOST_SECONDS, self._interval)),
            beat=self.beat,
        )

    @property
    def loop_lag_seconds(self) -> float:
        """How late the worker's event loop answered last."""
        return self._watched.loop_watch.lag_seconds

    def start(self) -> None:
        """Begin; from the worker's loop."""
        self._thread.start()

    def nudge(self) -> None:
        """Renew now."""
        with contextlib.suppress(RuntimeError):
            self._wake()

    def stop(self) -> None:
        """Remove the worker's row and end; does not wait."""
        self._ticks.stopping = True
        self.nudge()

    async def stopped(self, *, within: float) -> None:
        """Wait for the end of the thread, at most that many seconds."""
        await asyncio.to_thread(self._thread.join, within)

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        self._wake = partial(loop.call_soon_threadsafe, self._ticks.wake.hint)
        watch = asyncio.create_task(self._watched.loop_watch.run(), name="watch the loop")
        await self._ticks.run(self._tick)
        watch.cancel()
        await self._say_goodbye()

    async def _tick(self) -> float:
        """Renew what is due; seconds until the next tick."""
        due = self._ticks.hinted or time.monotonic() >= self._due_at
        try:
            async with asyncio.timeout(self._limit):
                await (self._beat_all() if due else self._beat_again())
        except Exception:
            self._drop_connection()
            self._stats.heartbeat_errors += 1
            self._due_at = float("-inf")
            raise
        if due:
            # Without notifications this is also how a request to cancel is heard of.
            often = not self._watched.listening()
            interval = min(self._interval, self._poll_interval) if often else self._interval
            self._due_at = time.monotonic() + jittered(interval)
        rest = self._due_at - time.monotonic()
        return min(rest, _AGAIN_SECONDS) if self._again else rest

    async def _beat_all(self) -> None:
        runs = list(self._watched.runs)
        now = time.monotonic()
        self._again = []
        # Of an idle worker every second time is enough: it may be silent for minutes.
        if not runs and now - self._row_written < 1.5 * self._interval:
            return
        connection = await self._connected()
        if runs:
            await self._renew(runs, connection)
        await self._row.beat(self._identity, self._health(len(runs)), executor=connection)
        self._row_written = now

    async def _beat_again(self) -> None:
        runs = [run for run in self._again if run in self._watched.runs]
        self._again = []
        if runs:
            await self._renew(runs, await self._connected())

    async def _renew(self, runs: list[Run], connection: Connection) -> None:
        sent = time.monotonic()
        # A job that was claimed here twice has lost its earlier lease; and the answers name jobs.
        newest = {run.job.id: run for run in sorted(runs, key=lambda run: run.job.fence)}
        jobs = [run.job for run in newest.values()]
        news = await self._store.heartbeat(jobs, self._lease, executor=connection)
        told = {one.id: one for one in news}
        until = sent + self._lease.total_seconds()
        held_until = sent + _HELD_ROW_SECONDS + lease_margin(self._lease)
        for run in newest.values():
            about = told.get(run.job.id)
            if about is None:
                run.lease_until = until
            elif not about.held:
                self._watched.loop.call_soon_threadsafe(self._watched.lost, run)
            elif about.cancel_requested:
                run.lease_until = until
                self._watched.loop.call_soon_threadsafe(self._watched.cancelled, run)
            else:
                run.lease_until = max(run.lease_until, held_until)
                self._again.append(run)

    def _health(self, running: int) -> WorkerHealth:
        with self._process.oneshot():
            cpu, memory = self._process.cpu_percent(), self._process.memory_info().rss
        return WorkerHealth(
            running, cpu, memory, self._watched.loop_watch.lag_seconds, self._watched.draining()
        )

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(
                self._dsn,
                **connect_options(
                    application_name="wastewise-jobs heartbeat",
                    command_timeout=self._limit,
                    statement_cache_size=self._statement_cache_size,
                ),
            )
        return self._connection

    def _drop_connection(self) -> None:
        if self._connection is not None:
            # close() would wait for a server that may never answer.
            self._connection.terminate()
            self._connection = None

    async def _say_goodbye(self) -> None:
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                connection = await self._connected()
                await self._row.goodbye(self._identity.worker_id, executor=connection)
                await connection.close()
        except Exception as error:  # noqa: BLE001 - the last tick: the row is pruned by others
            log.debug("worker_row_left", error=f"{type(error).__name__}: {error}")
            self._drop_connection()
