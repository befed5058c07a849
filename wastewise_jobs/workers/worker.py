"""The worker: everything of this package put together, started and stopped in order."""

import asyncio
import contextlib
import os
import platform
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from uuid import UUID, uuid4

from structlog.contextvars import bind_contextvars

from wastewise_jobs.db.doorbell import CANCEL_TOPIC, WAKE_TOPIC
from wastewise_jobs.db.loops import Beats
from wastewise_jobs.db.notifier import Notifier
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.handlers.options import RunIn
from wastewise_jobs.handlers.registry import Jobs
from wastewise_jobs.jobs.store import JobStore, Polled
from wastewise_jobs.logs import get_logger
from wastewise_jobs.workers.claim import ClaimLoop
from wastewise_jobs.workers.event_log import EventLog
from wastewise_jobs.workers.heartbeat import Heartbeat, Watched
from wastewise_jobs.workers.journal import Journal
from wastewise_jobs.workers.lanes import Lane, LastChance, make_lanes
from wastewise_jobs.workers.last_settling import settle_without_loop
from wastewise_jobs.workers.loop_watch import LoopWatch
from wastewise_jobs.workers.places.entries import make_entries
from wastewise_jobs.workers.places.processes import MEMORY_BYTES, Processes
from wastewise_jobs.workers.places.threads import Threads
from wastewise_jobs.workers.poll import PollLoop
from wastewise_jobs.workers.stats import WorkerStats
from wastewise_jobs.workers.store import WorkerIdentity
from wastewise_jobs.workers.supervisor import Supervisor

log = get_logger(__name__)

# A lane whose hints are all lost still claims now and then.
_POLLS_PER_CLAIM = 12
# After the grace period: for handlers to react, for the last outcomes, for the last heartbeat.
_LAST_WORDS_SECONDS = 0.3
_LAST_FLUSH_SECONDS = 0.5
_LAST_BEAT_SECONDS = 0.2
# For children that were killed to be gone, and their pipes closed.
_LAST_DEATH_SECONDS = 0.5
# From a notification to the heartbeat that it leads to: many of them are one.
_NUDGE_SOON_SECONDS = 0.05
_NUDGE_AGAIN_SECONDS = 0.5


class Worker:
    """Claims and runs jobs of the given handlers until `stop()`, then drains.

    `dsn` leads straight to PostgreSQL, for the listener and the heartbeat; `pool` may lead through
    a transaction pooler. `queues` maps names to limits (None: no limit); without it jobs of every
    queue are claimed. `stats`, `beats` and `worker_id` are there to be read.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        dsn: str,
        jobs: Jobs,
        name: str | None = None,
        concurrency: int = 100,
        threads: int | None = None,
        processes: int | None = None,
        process_memory_bytes: int = MEMORY_BYTES,
        queues: Mapping[str, int | None] | None = None,
        lease: timedelta = timedelta(seconds=30),
        heartbeat_interval: timedelta = timedelta(seconds=10),
        poll_interval: timedelta = timedelta(seconds=5),
        shutdown_grace: timedelta = timedelta(seconds=30),
        stop_patience: timedelta = timedelta(seconds=5),
        notify: bool = True,
        on_hung: Callable[[], object] = lambda: None,
        log_level: str = "INFO",
        log_format: str = "auto",
    ) -> None:
        self.stats = WorkerStats()
        self._dsn = dsn
        self._log = EventLog()
        self._journal = Journal(self.stats.take, self._log.take)
        self._grace = shutdown_grace.total_seconds()
        self._stopping = asyncio.Event()
        self._aborting = asyncio.Event()
        self._over = False
        self._nudges: dict[float, asyncio.TimerHandle] = {}
        self._threads = Threads("wastewise handler")
        store = JobStore(pool)
        last_chance = LastChance()
        self._processes = Processes(
            store,
            log_level=log_level,
            log_format=log_format,
            dsn=dsn,
            lease=lease,
            memory_bytes=process_memory_bytes,
        )
        entries = make_entries(jobs, self._threads, self._processes)
        cores = os.cpu_count() or 1
        capacities = {
            RunIn.LOOP: concurrency,
            RunIn.THREAD: threads or cores,
            RunIn.PROCESS: processes or cores,
        }
        self.lanes = make_lanes(jobs, capacities=capacities, queues=queues)
        self.identity = _identity(name, sorted(entries), queues, concurrency)
        self._supervisor = Supervisor(
            pool,
            store,
            entries=entries,
            lease=lease,
            patience=stop_patience.total_seconds(),
            last_chance=last_chance,
            journal=self._journal,
            on_worn_out=self._worn_out,
        )
        poll = poll_interval.total_seconds()
        self._poll = PollLoop(store, interval=poll, journal=self._journal, found=self._found)
        self._claims = [
            ClaimLoop(
                lane,
                store,
                worker_id=self.worker_id,
                lease=lease,
                claim_at_least_every=_POLLS_PER_CLAIM * poll,
                last_chance=last_chance,
                stats=self.stats,
                start=partial(self._supervisor.start, lane),
                known=self._supervisor.jobs,
                nothing_due=self._poll.wake.hint,
            )
            for lane in self.lanes
        ]
        self._notifier = Notifier(
            dsn,
            [WAKE_TOPIC, CANCEL_TOPIC],
            on_message=self._notified,
            on_connect=self._hint_everybody,
        )
        self._notify = notify
        self._heartbeat = Heartbeat(
            dsn,
            store=store,
            identity=self.identity,
            watched=Watched(
                loop=asyncio.get_running_loop(),
                loop_watch=LoopWatch(
                    self._supervisor.unsettled,
                    patience=stop_patience.total_seconds(),
                    stats=self.stats,
                    on_hung=on_hung,
                ),
                runs=self._supervisor.unsettled,
                draining=self._stopping.is_set,
                listening=lambda: self._notifier.listening,
                lost=self._supervisor.lose,
                cancelled=self._supervisor.cancel,
            ),
            lease=lease,
            interval=heartbeat_interval,
            poll_interval=poll_interval,
            stats=self.stats,
        )

    @property
    def worker_id(self) -> str:
        """New at every start, so that nobody is mistaken for a predecessor."""
        return self.identity.worker_id

    @property
    def running(self) -> int:
        """How many jobs are claimed and not settled."""
        return len(self._supervisor.unsettled)

    @property
    def listening(self) -> bool:
        """Whether notifications arrive; without them the worker polls."""
        return self._notifier.listening

    @property
    def listener_reconnects(self) -> int:
        """How often notifications were lost and came back."""
        return self._notifier.reconnects

    @property
    def loop_lag_seconds(self) -> float:
        """How late this worker's event loop answered last."""
        return self._heartbeat.loop_lag_seconds

    @property
    def stuck(self) -> int:
        """Handlers that do not end although they were stopped; the process cannot end cleanly."""
        return len(self._supervisor.stuck)

    @property
    def draining(self) -> bool:
        """Whether it has been told to stop."""
        return self._stopping.is_set()

    @property
    def beats(self) -> Beats:
        """The worker's loops by name, for a health check."""
        beats: Beats = {"look": self._poll.beat, "heartbeat": self._heartbeat.beat}
        beats |= {f"claim {claim.lane.name}": claim.beat for claim in self._claims}
        if self._notify:
            beats["notifier"] = self._notifier.beat
        return beats

    def stop(self) -> None:
        """Claim no more, let jobs end within the grace period, release the rest."""
        self._supervisor.releasing = True
        self._stopping.set()

    def abort(self) -> None:
        """Stop without waiting for the grace period."""
        self._supervisor.releasing = True
        self._stopping.set()
        self._aborting.set()

    def end_without_loop(self, seconds: float) -> None:
        """Settle what runs, from another thread: the process ends in the middle of it."""
        if self._over:
            return
        self._processes.stop()
        self._heartbeat.stop()
        asyncio.run(
            settle_without_loop(
                self._dsn,
                list(self._supervisor.unsettled),
                identity=self.identity,
                journal=self._journal,
                within=seconds,
            )
        )
        self._log.summarize()

    async def run(self) -> None:
        """Work until `stop()` or `abort()`; a cancellation counts as `abort()`."""
        bind_contextvars(worker_id=self.worker_id)
        self._log.begin()
        slots = {lane.name: lane.capacity for lane in self.lanes}
        log.info("worker_started", job_types=self.identity.job_types, slots=slots)
        self._heartbeat.start()
        try:
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(run(), name=name) for name, run in self._loops()]
                claims = [
                    group.create_task(claim.run(), name=f"claim {claim.lane.name}")
                    for claim in self._claims
                ]
                await self._until_drained(claims)
                for task in (*background, *claims):
                    task.cancel()
        finally:
            self._threads.stop()
            self._processes.stop()
            self._heartbeat.stop()
            await self._processes.stopped(within=_LAST_DEATH_SECONDS)
            await self._heartbeat.stopped(within=_LAST_BEAT_SECONDS)
            self._log.summarize()
            self._over = not self.running
            log.info("worker_stopped", unsettled=self.running)

    def _loops(self) -> list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]:
        loops = [*self._supervisor.background(), ("look", self._poll.run)]
        return [*loops, ("notifier", self._notifier.run)] if self._notify else loops

    async def _until_drained(self, claims: list[asyncio.Task[None]]) -> None:
        try:
            await self._stopping.wait()
            await self._drain(claims, grace=self._grace)
        except asyncio.CancelledError:
            self.abort()
            await asyncio.shield(self._drain(claims, grace=0))
            raise

    async def _drain(self, claims: list[asyncio.Task[None]], *, grace: float) -> None:
        """End within `grace` and two seconds, whatever handlers and the database do."""
        log.info("worker_draining", running=self.running)
        for claim in self._claims:
            claim.stop()
        if await self._ended(claims, within=grace):
            return
        self._supervisor.stop_all(patience=_LAST_WORDS_SECONDS)
        # What a claim that is still under way brings is released as well.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS + _LAST_FLUSH_SECONDS):
                await self._everything_ended(claims)

    async def _ended(self, claims: list[asyncio.Task[None]], *, within: float) -> bool:
        """Whether everything ended in time; False at once when told to hurry."""
        ending = asyncio.create_task(self._everything_ended(claims))
        hurrying = asyncio.create_task(self._aborting.wait())
        await asyncio.wait((ending, hurrying), timeout=within, return_when=asyncio.FIRST_COMPLETED)
        ended = ending.done()
        for task in (ending, hurrying):
            task.cancel()
        return ended

    async def _everything_ended(self, claims: list[asyncio.Task[None]]) -> None:
        # A claim that ends may have started runs: first the claims, then the runs.
        await asyncio.wait(claims)
        await self._supervisor.quiet()

    def _notified(self, topic: str, payload: str) -> None:
        if topic == WAKE_TOPIC:
            for claim in self._claims:
                if claim.lane.queues is None or payload in claim.lane.queues:
                    claim.hear()
            return
        # Whoever may NOTIFY may say anything: only what the heartbeat finds in the database stops
        # a run. A job that is not here may be in a claim whose answer is still on its way.
        with contextlib.suppress(ValueError):
            job_id = UUID(payload)
            here = any(job.id == job_id for job in self._supervisor.jobs())
            self._nudge_heartbeat(after=_NUDGE_SOON_SECONDS if here else _NUDGE_AGAIN_SECONDS)

    def _nudge_heartbeat(self, *, after: float) -> None:
        if after not in self._nudges:
            loop = asyncio.get_running_loop()
            self._nudges[after] = loop.call_later(after, self._nudged, after)

    def _nudged(self, after: float) -> None:
        del self._nudges[after]
        if self.running:
            self._heartbeat.nudge()

    def _hint_everybody(self) -> None:
        self._poll.wake.hint()
        for claim in self._claims:
            claim.wake.hint()

    def _found(self, polled: Polled) -> None:
        overdue = polled.due_in is not None and polled.due_in <= 0
        for claim in self._claims:
            if overdue or any(claim.lane.serves(*kind) for kind in polled.kinds):
                claim.wake.hint()

    def _worn_out(self, lane: Lane) -> None:
        """Nothing can run in this lane any more: only a new process helps."""
        log.error("worker_worn_out", lane=lane.name, stuck=self.stuck)
        self.stop()


def _identity(
    name: str | None,
    job_types: list[str],
    queues: Mapping[str, int | None] | None,
    concurrency: int,
) -> WorkerIdentity:
    host = platform.node() or "unknown"
    try:
        release = version("wastewise-jobs")
    except PackageNotFoundError:
        release = "unknown"
    return WorkerIdentity(
        worker_id=f"{name or host}-{uuid4()}",
        name=name or host,
        host=host,
        pid=os.getpid(),
        version=release,
        queues=list(queues) if queues is not None else ["*"],
        job_types=job_types,
        concurrency=concurrency,
    )
