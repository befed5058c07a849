"""A worker under test, in this process, over a real database."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from tests.support.factories import assert_invariant as everything_agrees
from tests.support.waiting import eventually
from wastewise_jobs import Jobs
from wastewise_jobs.db.doorbell import Doorbell
from wastewise_jobs.db.pool import Pool, create_pool
from wastewise_jobs.jobs.model import JobView
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.jobs.types import JobTypeStore
from wastewise_jobs.workers.worker import Worker

QUICK = {
    "lease": timedelta(seconds=1.5),
    "heartbeat_interval": timedelta(seconds=0.3),
    "poll_interval": timedelta(seconds=0.3),
    "shutdown_grace": timedelta(seconds=0.2),
    "stop_patience": timedelta(seconds=0.5),
}


__all__ = ["QUICK", "Bench", "bench", "everything_agrees", "statuses"]


@dataclass(frozen=True, slots=True)
class Bench:
    """A pool, a store, and what was asked of the test's worker."""

    dsn: str
    pool: Pool
    store: JobStore
    jobs: Jobs

    async def job(self, job_id: UUID) -> JobView:
        job = await self.store.get(job_id, user_id=None)
        assert job is not None
        return job

    async def status(self, job_id: UUID) -> str:
        return (await self.job(job_id)).status.value

    async def until(self, job_id: UUID, *statuses: str, within: float = 15.0) -> JobView:
        async def reached() -> JobView | None:
            job = await self.job(job_id)
            return job if job.status in statuses else None

        found = await eventually(reached, within=within)
        assert found is not None
        return found

    @asynccontextmanager
    async def worker(self, jobs: Jobs | None = None, **options: Any) -> AsyncIterator[Worker]:
        worker = Worker(pool=self.pool, dsn=self.dsn, jobs=jobs or self.jobs, **(QUICK | options))
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await asyncio.wait_for(task, timeout=15)


@asynccontextmanager
async def bench(dsn: str, jobs: Jobs, *, notify: bool = True) -> AsyncIterator[Bench]:
    async with create_pool(dsn, command_timeout=10) as pool:
        store = JobStore(pool)
        doorbell = Doorbell(pool, enabled=notify)
        jobs.bind(store, doorbell.ring, notifies=notify)
        await JobTypeStore(pool).register(jobs.job_types())
        ringing = asyncio.create_task(doorbell.run())
        try:
            yield Bench(dsn, pool, store, jobs)
        finally:
            ringing.cancel()
            await asyncio.wait([ringing])


async def statuses(pool: Pool, ids: Sequence[UUID]) -> list[str]:
    rows = await pool.fetch("SELECT status FROM analysis_jobs WHERE id = ANY ($1)", ids)
    return [row[0] for row in rows]
