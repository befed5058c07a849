"""Lets any process of an application enqueue: a script, a web application, a notebook.

    async with connected(jobs):
        await send_bill.enqueue(Bill(...), user_id=user)

Part of the composition root, because it may read the settings; workers need none of it, they are
connected already. Runs nothing but the doorbell.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from wastewise_jobs.db.doorbell import Doorbell
from wastewise_jobs.db.opening import Addresses, checked_pool
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.db.schema.migrate import check_schema
from wastewise_jobs.handlers.registry import Jobs
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.jobs.types import JobTypeStore
from wastewise_jobs.logs import configure_logging
from wastewise_jobs.service.database import database, prepare_schema
from wastewise_jobs.service.parts import job_types_of
from wastewise_jobs.settings import Settings, load_settings

# enqueue_many has two statements under way, the doorbell one.
_POOL_SIZE = 5


@asynccontextmanager
async def connected(
    jobs: Jobs, *, dsn: str | None = None, pool: Pool | None = None
) -> AsyncIterator[Pool]:
    """Inside, `enqueue` of these handlers reaches the database; yields the pool that it uses.

    The database is `pool`, which stays open, or `dsn`, or what the environment says as for every
    command: DATABASE_URL, or the embedded server, which is started if nobody runs it and shared
    with a service of the same WASTEWISE_HOME. Job types that the database does not know yet are
    registered; those that it knows are left as their workers registered them. Raises
    WastewiseJobsError when the database cannot be used.
    """
    if not structlog.is_configured():
        configure_logging("WARNING", libraries=False)
    settings = load_settings() if dsn is None and pool is None else None
    async with AsyncExitStack() as opened:
        if pool is None:
            pool = await opened.enter_async_context(_opened(settings, dsn))
        else:
            async with pool.acquire() as connection:
                await check_schema(connection)
        await _register_new(jobs, pool, settings)
        doorbell = Doorbell(pool, enabled=settings is None or settings.notify_enabled)
        await opened.enter_async_context(_rung(doorbell))
        opened.enter_context(jobs.bound(JobStore(pool), doorbell.ring, notifies=doorbell.enabled))
        # What a cancelled caller left behind still uses the pool.
        opened.push_async_callback(jobs.binding.batcher.close)
        yield pool


@asynccontextmanager
async def _opened(settings: Settings | None, dsn: str | None) -> AsyncIterator[Pool]:
    if settings is None:
        given = dsn or ""
        async with checked_pool(Addresses(given, given), size=_POOL_SIZE) as pool:
            yield pool
        return
    async with database(settings) as addresses:
        if settings.embedded:
            await prepare_schema(addresses, settings)
        async with checked_pool(
            addresses, size=_POOL_SIZE, timeout_seconds=settings.database_timeout_seconds
        ) as pool:
            yield pool


async def _register_new(jobs: Jobs, pool: Pool, settings: Settings | None) -> None:
    store = JobTypeStore(pool)
    known = await store.names()
    carried = job_types_of(jobs, settings, builtin=False) if settings else jobs.job_types()
    if new := [info for info in carried if info.job_type not in known]:
        await store.register(new)


@asynccontextmanager
async def _rung(doorbell: Doorbell) -> AsyncIterator[None]:
    ringing = asyncio.create_task(doorbell.run(), name="doorbell")
    try:
        yield
    finally:
        ringing.cancel()
        await asyncio.wait([ringing])
        # A script ends right after its last job; an idle worker should not have to find it.
        await doorbell.send()
