"""Settles runs from outside the loop that runs them, when that is blocked and the process ends.

Whatever is known of a run is recorded: the outcome that waits to be written, or that its time is
up; the rest is released. Written twice does no harm: the fence lets only one of them in.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from wastewise_jobs.db.pool import create_pool
from wastewise_jobs.jobs.outcome import CompletedInTransaction, Outcome
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.workers.execute import stopped_outcome
from wastewise_jobs.workers.journal import Journal
from wastewise_jobs.workers.run import Run, StopReason
from wastewise_jobs.workers.settle import Settler
from wastewise_jobs.workers.store import WorkerIdentity


async def settle_without_loop(
    dsn: str,
    runs: Sequence[Run],
    *,
    identity: WorkerIdentity,
    journal: Journal,
    within: float,
) -> None:
    """Settle all of them, and what else the worker holds; gives up after `within` seconds."""
    left, empty = set(runs), asyncio.Event()

    def settled(runs: Sequence[Run]) -> None:
        left.difference_update(runs)
        if not left:
            empty.set()

    pool = create_pool(
        dsn, max_size=1, application_name="wastewise-jobs last", command_timeout=within
    )
    store = JobStore(pool)
    settler = Settler(store, journal=journal, on_settled=settled)
    for run in runs:
        settler.put(run, _outcome(run))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            await pool
            settling = asyncio.create_task(settler.run())
            try:
                if runs:
                    await empty.wait()
                # The loop may not have heard yet of what it has claimed.
                await store.release_unknown(identity.worker_id, None, identity.job_types, ())
            finally:
                settling.cancel()
    pool.terminate()


def _outcome(run: Run) -> Outcome | None:
    if run.settling:
        return run.outcome
    if run.context.completed:
        return CompletedInTransaction()
    if run.stopped_for is None:
        run.stopped_for = StopReason.TIMEOUT if run.overdue else StopReason.SHUTDOWN
    return stopped_outcome(run)
