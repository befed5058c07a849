"""The runs in progress: started, watched, stopped, settled. Only the worker's loop touches them."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any

from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.model import ClaimedJob, JobId
from wastewise_jobs.jobs.outcome import Outcome, Released
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.workers.execute import execute, stopped_outcome
from wastewise_jobs.workers.journal import (
    HandlerStuck,
    JobsClaimed,
    Journal,
    RunTimedOut,
    StuckHandlerEnded,
)
from wastewise_jobs.workers.lanes import Lane, LastChance
from wastewise_jobs.workers.progress import ProgressBoard
from wastewise_jobs.workers.run import Desk, Entry, Run, StopReason, lease_margin
from wastewise_jobs.workers.settle import Settler
from wastewise_jobs.workers.transaction import Transactions

_PATROL_SECONDS = 0.1
# Claims, settling and progress must find a connection, whatever handlers do with theirs.
_CONNECTIONS_NOT_FOR_HANDLERS = 3


class Supervisor:
    """`patience`: seconds until a stopped handler that does not end is stuck.

    `on_worn_out(lane)` is called when a lane's slots are all taken by stuck handlers.
    """

    def __init__(
        self,
        pool: Pool,
        store: JobStore,
        *,
        entries: Mapping[str, Entry],
        lease: timedelta,
        patience: float,
        last_chance: LastChance,
        journal: Journal,
        on_worn_out: Callable[[Lane], None],
    ) -> None:
        self._entries = entries
        self._lease_margin = lease_margin(lease)
        self._patience = patience
        self._last_chance = last_chance
        self._journal = journal
        self._on_worn_out = on_worn_out
        self._settler = Settler(store, journal=journal, on_settled=self._settled)
        self._progress = ProgressBoard(store, on_lost=self.lose)
        most = max(1, pool.get_max_size() - _CONNECTIONS_NOT_FOR_HANDLERS)
        transactions = Transactions(pool, lease=lease, most=most)
        self._desk = Desk(self._progress.put, transactions.completing, transactions.connection)
        self._loop = asyncio.get_running_loop()
        self._busy = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        # Every claimed job whose outcome is not durable yet; the heartbeat renews their leases.
        self.unsettled: set[Run] = set()
        # Handlers that do not end; they may be settled already.
        self.stuck: set[Run] = set()
        # From now on what is claimed is given back unrun.
        self.releasing = False

    def background(self) -> list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]:
        """The loops that runs need, by name."""
        return [
            ("settler", self._settler.run),
            ("progress", self._progress.run),
            ("patrol", self._patrol),
        ]

    def start(self, lane: Lane, jobs: Sequence[ClaimedJob], lease_until: float) -> None:
        """Start what was claimed, one job at least; while releasing, give it back unrun.

        So is what a blocked loop heard of too late: somebody else may be running it already.
        """
        entries, desk = self._entries, self._desk
        unsettled, loop = self.unsettled, self._loop
        late = time.monotonic() >= lease_until - self._lease_margin
        self._quiet.clear()
        self._journal.tell(JobsClaimed(jobs))
        self._lose_earlier_runs({job.id for job in jobs})
        for job in jobs:
            run = Run(job, entries[job.job_type], lane, desk, lease_until)
            unsettled.add(run)
            if self.releasing or late:
                self._settle(run, Released())
            else:
                run.task = loop.create_task(self._live(run))
        self._busy.set()

    def _lose_earlier_runs(self, ids: set[JobId]) -> None:
        """Somebody has sent a job round again that still runs here: this claim proves it."""
        for run in self.unsettled:
            if run.job.id in ids:
                run.request_stop(StopReason.LEASE_LOST, patience=self._patience)

    async def quiet(self) -> None:
        """Wait until everything is settled."""
        await self._quiet.wait()

    def stop_all(self, *, patience: float) -> None:
        """Stop every handler and release its job."""
        self.releasing = True
        for run in list(self.unsettled):
            run.request_stop(StopReason.SHUTDOWN, patience=patience)

    def cancel(self, run: Run) -> None:
        """Somebody wants the job cancelled."""
        run.request_stop(StopReason.CANCEL, patience=self._patience)

    def jobs(self) -> list[ClaimedJob]:
        """What was claimed here and is not settled; one job perhaps twice, under two fences."""
        return [run.job for run in self.unsettled]

    def lose(self, run: Run) -> None:
        """The lease is lost: stop the handler, drop its outcome.

        Not while its own transaction holds the job's row: then it is that transaction which has
        completed the job, and the run has not heard of it yet.
        """
        if run in self.unsettled and not run.context.holding:
            run.request_stop(StopReason.LEASE_LOST, patience=self._patience)

    async def _live(self, run: Run) -> None:
        outcome = await execute(run)
        if run.stuck:
            self._ended_at_last(run)
            return
        if run.stopped_for is None and run.overdue and not run.context.completed:
            # It blocked the loop, or the patrol had seen it.
            self._journal.tell(RunTimedOut(run))
            run.stopped_for = StopReason.TIMEOUT
            outcome = stopped_outcome(run)
        self._settle(run, outcome)

    def _settle(self, run: Run, outcome: Outcome | None) -> None:
        run.outcome = outcome
        run.settling = True
        self._settler.put(run, outcome)

    def _settled(self, runs: Sequence[Run]) -> None:
        self.unsettled.difference_update(runs)
        self._free([run for run in runs if not run.stuck])
        if not self.unsettled:
            self._quiet.set()

    def _free(self, runs: Sequence[Run]) -> None:
        for lane, count in Counter([run.lane for run in runs]).items():
            lane.give_back(count)
        if any(run.job.on_last_chance for run in runs):
            self._last_chance.ended()

    async def _patrol(self) -> None:
        """One timer for all runs: deadlines, leases that nobody confirmed, handlers that hang."""
        while True:
            if not self.unsettled:
                self._busy.clear()
                await self._busy.wait()
            now = time.monotonic()
            for run in list(self.unsettled):
                if not run.settling:
                    self._check(run, now)
            await asyncio.sleep(_PATROL_SECONDS)
            if time.monotonic() - now > 2 * _PATROL_SECONDS:
                # The loop was blocked: first let it hear of threads that ended meanwhile.
                await asyncio.sleep(_PATROL_SECONDS)

    def _check(self, run: Run, now: float) -> None:
        if run.stopped_for is None:
            if now >= run.deadline:
                self._journal.tell(RunTimedOut(run))
                run.request_stop(StopReason.TIMEOUT, patience=self._patience)
            elif now >= run.lease_until - self._lease_margin:
                # Before anybody else could claim it: the handler must not run beside another one.
                run.request_stop(StopReason.LEASE_UNSURE, patience=self._patience)
        elif now >= run.stuck_at:
            self._give_up(run)
        elif now >= run.cancel_at:
            run.cancel_task()

    def _give_up(self, run: Run) -> None:
        """Record the outcome without the handler; its slot stays taken until it ends."""
        run.stuck = True
        self.stuck.add(run)
        self._journal.tell(HandlerStuck(run))
        self._settle(run, stopped_outcome(run))
        # Lanes share slots: what is stuck in one of them is missing in the others.
        for slots in run.lane.slots:
            if sum(slots in other.lane.slots for other in self.stuck) >= slots.capacity:
                self._on_worn_out(run.lane)
                return

    def _ended_at_last(self, run: Run) -> None:
        self.stuck.discard(run)
        self._journal.tell(StuckHandlerEnded(run))
        if run in self.unsettled:
            run.stuck = False
        else:
            self._free([run])
