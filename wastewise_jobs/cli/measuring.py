"""Measures the queue with jobs that do nothing, in a database of its own.

The database is on the same server and dropped at the end: no row of it is ever seen by a real
worker, and no real row by it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from wastewise_jobs.db.doorbell import Doorbell
from wastewise_jobs.db.opening import Addresses, open_pool
from wastewise_jobs.db.schema.migrate import migrate
from wastewise_jobs.db.spare import spare_database
from wastewise_jobs.handlers.context import JobContext
from wastewise_jobs.handlers.registry import Jobs
from wastewise_jobs.jobs.ids import new_job_id
from wastewise_jobs.jobs.model import DEFAULT_QUEUE, NewJob
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.jobs.types import JobTypeStore
from wastewise_jobs.service.database import database
from wastewise_jobs.service.worker import make_worker
from wastewise_jobs.settings import Settings
from wastewise_jobs.workers.worker import Worker

JOB_TYPE = "bench.nothing"
BATCH = 500
_LONE = 100
_LIMIT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out."""

    jobs: int
    concurrency: int
    enqueued_per_second: float
    run_per_second: float
    lone_job_median_milliseconds: float
    lone_job_p95_milliseconds: float


async def measure(settings: Settings, count: int) -> Measured:
    """Enqueue and run so many jobs, then a hundred one at a time."""
    jobs = Jobs()
    jobs.handler(JOB_TYPE)(_nothing)
    async with (
        database(settings) as addresses,
        _throw_away(addresses) as own,
        open_pool(own, size=settings.database_pool_size) as pool,
        asyncio.TaskGroup() as running,
    ):
        store, doorbell = JobStore(pool), Doorbell(pool, enabled=settings.notify_enabled)
        await JobTypeStore(pool).register(jobs.job_types())
        enqueued = await _enqueue(store, count)
        worker = make_worker(settings, own, pool, jobs)
        tasks = [running.create_task(part.run()) for part in (worker, doorbell)]
        async with asyncio.timeout(_LIMIT_SECONDS):
            ran = await _until_completed(worker, count)
            latencies = sorted([await _lone_job(store, doorbell, worker) for _ in range(_LONE)])
        worker.stop()
        await tasks[0]
        tasks[1].cancel()
    return Measured(
        jobs=count,
        concurrency=settings.worker_concurrency,
        enqueued_per_second=count / enqueued,
        run_per_second=count / ran,
        lone_job_median_milliseconds=latencies[_LONE // 2] * 1000,
        lone_job_p95_milliseconds=latencies[_LONE * 95 // 100] * 1000,
    )


async def _nothing(job: JobContext) -> None:
    """The handler: all that is measured is the way to it and back."""


@asynccontextmanager
async def _throw_away(addresses: Addresses) -> AsyncIterator[Addresses]:
    """A migrated database of a random name on the same server."""
    async with spare_database(
        addresses.direct, prefix="wastewise_bench", variable=addresses.direct_variable
    ) as own:
        await migrate(own)
        yield Addresses(own, own)


async def _enqueue(store: JobStore, count: int) -> float:
    """Seconds that it took."""
    began = time.perf_counter()
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        await store.enqueue([NewJob(id=new_job_id(), job_type=JOB_TYPE) for _ in range(size)])
    return time.perf_counter() - began


async def _until_completed(worker: Worker, count: int) -> float:
    """Seconds until so many completions are durable."""
    began = time.perf_counter()
    while worker.stats.completed < count:  # noqa: ASYNC110 - the worker counts, it tells nobody
        await asyncio.sleep(0.001)
    return time.perf_counter() - began


async def _lone_job(store: JobStore, doorbell: Doorbell, worker: Worker) -> float:
    """Seconds from asking for a job to its durable completion, with nothing else to do."""
    before = worker.stats.completed
    began = time.perf_counter()
    await store.enqueue([NewJob(id=new_job_id(), job_type=JOB_TYPE)])
    doorbell.ring(DEFAULT_QUEUE)
    while worker.stats.completed == before:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.0002)
    seconds = time.perf_counter() - began
    # The doorbell merges what is rung within a few milliseconds; a lone job comes after a pause.
    await asyncio.sleep(0.05)
    return seconds
