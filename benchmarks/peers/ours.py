"""wastewise-jobs, with everything on: the worker itself is the ordinary command.

`jobs` is what `wastewise-jobs worker --app ours:jobs` carries.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import BaseModel
from reporting import PAYLOAD, Counter, arrived, dsn, from_tasks, main, paced, timed

from wastewise_jobs import JobContext, Jobs
from wastewise_jobs.db.doorbell import Doorbell
from wastewise_jobs.db.pool import create_pool
from wastewise_jobs.db.schema.migrate import migrate
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.jobs.types import JobTypeStore

jobs = Jobs()
counter = Counter()


class Bill(BaseModel):
    account: str
    month: str
    note: str
    n: int


class Sent(BaseModel):
    at: float


@jobs.handler("noop")
async def noop(job: JobContext, input: Bill) -> None:
    counter.hit()


@jobs.handler("late")
async def late(job: JobContext, input: Sent) -> None:
    arrived(input.at)


@asynccontextmanager
async def bound(pool_size: int) -> AsyncIterator[None]:
    pool = await create_pool(dsn(), max_size=pool_size)
    doorbell = Doorbell(pool)
    jobs.bind(JobStore(pool), doorbell.ring)
    ringing = asyncio.create_task(doorbell.run())
    try:
        yield
    finally:
        await asyncio.sleep(0.1)
        ringing.cancel()
        await pool.close()


async def setup() -> None:
    await migrate(dsn())
    async with await create_pool(dsn(), max_size=1) as pool:
        await JobTypeStore(pool).register(jobs.job_types())


async def bulk(count: str) -> None:
    async with bound(4):
        await timed(int(count), noop.enqueue_many([Bill(**PAYLOAD)] * int(count)))


async def tasks(count: str, concurrency: str) -> None:
    async with bound(20):
        await timed(
            int(count),
            from_tasks(int(count), int(concurrency), lambda: noop.enqueue(Bill(**PAYLOAD))),
        )


async def pace(count: str, per_second: str) -> None:
    async with bound(10):
        await paced(int(count), float(per_second), lambda now: late.enqueue(Sent(at=now)))


if __name__ == "__main__":
    main({"setup": setup, "bulk": bulk, "tasks": tasks, "pace": pace})
