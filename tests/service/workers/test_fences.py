"""One worker, one job, several leases: what is said of one of them must not meet another."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support import process_handlers
from tests.support.factories import claim, make_running
from tests.support.process_handlers import Order, in_process
from tests.support.waiting import eventually
from tests.support.workers import Bench, bench, everything_agrees
from wastewise_jobs import JobContext, Jobs
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.workers.run import Run
from wastewise_jobs.workers.settle import Batch, Item, _Pipe

AGAIN = "UPDATE analysis_jobs SET status = 'pending', retry_after = NULL WHERE id = $1"
SENT_ROUND = {
    "a plain UPDATE": (AGAIN,),
    "two plain UPDATEs": (AGAIN, AGAIN),
    "a change of mind": (
        AGAIN,
        "UPDATE analysis_jobs SET status = 'cancelled' WHERE id = $1",
        AGAIN,
    ),
    "a retry": ("SELECT schedule_job_retry($1, 'as somebody said', 'LATER')", AGAIN),
    "a cancellation and a requeue": (
        "UPDATE analysis_jobs SET status = 'cancelled' WHERE id = $1",
        AGAIN,
    ),
    "a failure and a requeue": (
        "UPDATE analysis_jobs SET status = 'failed' WHERE id = $1",
        "SELECT requeue_job($1)",
    ),
}
PATIENT: dict[str, Any] = {"lease": timedelta(seconds=30), "stop_patience": timedelta(seconds=60)}


@pytest.mark.parametrize("statements", SENT_ROUND.values(), ids=SENT_ROUND)
async def test_a_job_sent_round_again_runs_again_in_the_same_worker(
    db: str, statements: tuple[str, ...]
) -> None:
    """The earlier run is slow to stop: for a while the worker has two leases of one job."""
    jobs = Jobs()
    runs: list[JobContext] = []
    started, go_on = asyncio.Event(), asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> int:
        runs.append(job)
        mine = len(runs)
        started.set()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                # Only a run that has lost its lease may be asked to stop.
                assert mine < len(runs)
        return mine

    async with bench(db, jobs) as b, b.worker(**PATIENT) as worker:
        job_id = (await waits.enqueue()).id
        await started.wait()
        for statement in statements:
            await b.pool.execute(statement, job_id)

        async def newest_runs() -> bool:
            fence = await b.pool.fetchval("SELECT fence FROM analysis_jobs WHERE id = $1", job_id)
            return len(runs) > 1 and runs[-1].claimed.fence == fence

        await eventually(newest_runs)
        await _renewed(b, job_id)
        await _renewed(b, job_id)
        assert [run.cancelled for run in runs] == [True] * (len(runs) - 1) + [False]
        go_on.set()
        job = await b.until(job_id, "completed")
        await eventually(lambda: worker.running == 0)
        assert (job.result, job.crash_count) == (len(runs), 0)
        assert (worker.stats.completed, worker.stats.lease_lost) == (1, len(runs) - 1)
        assert worker.stats.rescued == 0
        await everything_agrees(b.pool)


async def test_the_child_of_a_run_that_lost_its_lease_is_killed_and_the_next_one_runs(
    db: str, tmp_path: Path
) -> None:
    note = tmp_path / "pids"
    async with bench(db, process_handlers.jobs) as b, b.worker(processes=2) as worker:
        job_id = (await in_process.enqueue(Order(act="hang", path=str(note)))).id
        await eventually(lambda: note.exists() and len(note.read_text().split()) == 2)
        work = Order(act="work").model_dump()
        await b.pool.execute("UPDATE analysis_jobs SET input_data = $2 WHERE id = $1", job_id, work)
        await b.pool.execute(AGAIN, job_id)
        job = await b.until(job_id, "completed")
        await eventually(lambda: worker.running == 0)
        assert (job.crash_count, job.retry_count) == (0, 0)
        assert (worker.stats.completed, worker.stats.lease_lost) == (1, 1)


async def test_a_completion_under_another_fence_is_not_ours(pool: Pool) -> None:
    store = JobStore(pool)
    earlier = await make_running(store)
    await pool.execute(AGAIN, earlier.id)
    (later,) = await claim(store)
    assert await store.complete([(later, Completed())]) == {later.id}
    assert await store.completed_before([earlier]) == set()
    assert await store.completed_before([later]) == {later.id}


async def test_a_lease_that_is_not_known_is_given_back_although_its_job_is(pool: Pool) -> None:
    store = JobStore(pool)
    earlier = await make_running(store)
    await pool.execute(AGAIN, earlier.id)
    (later,) = await claim(store)
    kinds = ("w1", None, [later.job_type])
    assert await store.release_unknown(*kinds, [earlier, later]) == set()
    assert await store.release_unknown(*kinds, [earlier]) == {later.id}


async def test_two_outcomes_of_one_job_are_not_settled_in_one_statement(pool: Pool) -> None:
    """The answer names the job, not the lease."""
    store = JobStore(pool)
    earlier = await make_running(store)
    await pool.execute(AGAIN, earlier.id)
    (later,) = await claim(store)
    sent: list[list[int]] = []

    async def write(batch: Batch, _repeated: bool) -> None:  # noqa: FBT001 - as _Pipe calls it
        sent.append([run.job.fence for run, _ in batch])

    def refuse(_item: Item, error: Exception) -> None:
        raise error

    pipe = _Pipe("complete", write, refuse)
    for job in (earlier, later):
        run = Run.__new__(Run)
        run.job = job
        pipe.put((run, None))
    running = asyncio.create_task(pipe.run())
    await eventually(lambda: len(sent) == 2)
    running.cancel()
    assert sent == [[earlier.fence], [later.fence]]


async def _renewed(b: Bench, job_id: UUID) -> None:
    read = "SELECT lease_expires_at FROM job_queue WHERE id = $1 AND leased"
    before = await b.pool.fetchval(read, job_id)

    async def later() -> bool:
        return bool(await b.pool.fetchval(read, job_id) != before)

    await eventually(later)
