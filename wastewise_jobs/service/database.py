"""The database of a process: where it is, its schema, and how many connections it allows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wastewise_jobs.db.embedded.server import embedded_postgres
from wastewise_jobs.db.opening import Addresses, open_pool
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.db.schema.migrate import migrate
from wastewise_jobs.db.server import room
from wastewise_jobs.handlers.registry import Jobs
from wastewise_jobs.jobs.types import JobTypeStore
from wastewise_jobs.logs import get_logger
from wastewise_jobs.maintenance.store import set_stuck_threshold
from wastewise_jobs.service.parts import Parts, job_types_of
from wastewise_jobs.service.shutdown import Stop
from wastewise_jobs.settings import Settings

log = get_logger(__name__)


@asynccontextmanager
async def database(settings: Settings, *, stop: Stop | None = None) -> AsyncIterator[Addresses]:
    """DATABASE_URL, or a PostgreSQL of our own that runs as long as somebody is inside.

    With `stop` it is left even if the process does not get to the end of the block.
    """
    if settings.database_url is not None:
        pooled = settings.database_url.get_secret_value()
        direct = settings.database_direct_url
        addresses = Addresses(pooled, direct.get_secret_value() if direct else pooled)
        if words := addresses.dropped:
            log.warning("database_address_words_dropped", words=words)
        yield addresses
        return
    async with embedded_postgres(
        settings.wastewise_home,
        bin_dir=settings.wastewise_pg_bin,
        leave_later=(lambda _: None) if stop is None else stop.last_acts.append,
    ) as dsn:
        yield Addresses(dsn, dsn)


async def prepare_schema(addresses: Addresses, settings: Settings) -> list[str]:
    """Bring the schema up to date and register the built-in job types; what was applied."""
    from wastewise_jobs.handlers.builtin import builtin

    applied = await migrate(addresses.direct, variable=addresses.direct_variable)
    async with open_pool(addresses, size=2) as pool:
        await tell_of(builtin, pool, settings, builtin=True)
    return applied


async def tell_of(jobs: Jobs, pool: Pool, settings: Settings, *, builtin: bool) -> None:
    """Register the job types of these handlers, and when a job of theirs counts as stuck."""
    await set_stuck_threshold(pool, settings.job_stuck_threshold_minutes)
    await JobTypeStore(pool).register(job_types_of(jobs, settings, builtin=builtin))


async def log_connection_budget(pool: Pool, settings: Settings, parts: Parts) -> None:
    """Say how many connections this process may open, and whether the server has so many."""
    beside = settings.connections_beside_pool if parts.worker else 2
    budget = settings.database_pool_size + beside
    allowed = (await room(pool)).most
    if budget > allowed:
        log.warning("connections_over_budget", needed=budget, server_allows=allowed)
        return
    log.info(
        "connections_budgeted",
        pool=settings.database_pool_size,
        beside_pool=beside,
        server_allows=allowed,
    )
