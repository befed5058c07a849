"""The composition root: what runs in a process, in which order it starts and stops."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import asyncpg

from wastewise_jobs.db.embedded import embedded_postgres
from wastewise_jobs.db.migrate import check_schema, migrate
from wastewise_jobs.db.pool import Pool, create_pool
from wastewise_jobs.errors import DatabaseUnusableError
from wastewise_jobs.settings import Settings

# The listener and the heartbeat of a process have connections of their own.
CONNECTIONS_BESIDE_POOL = 2


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the database is: `pooled` may lead through a transaction pooler, `direct` does not."""

    pooled: str = field(repr=False)
    direct: str = field(repr=False)

    @property
    def through_pooler(self) -> bool:
        """A direct address of its own is given exactly because the other one is pooled."""
        return self.pooled != self.direct


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[Addresses]:
    """DATABASE_URL, or a PostgreSQL of our own that runs as long as somebody is inside."""
    if settings.database_url is not None:
        pooled = settings.database_url.get_secret_value()
        direct = settings.database_direct_url
        yield Addresses(pooled, direct.get_secret_value() if direct else pooled)
        return
    async with embedded_postgres(settings.wastewise_home, bin_dir=settings.wastewise_pg_bin) as dsn:
        yield Addresses(dsn, dsn)


@asynccontextmanager
async def checked_pool(addresses: Addresses, *, size: int = 2) -> AsyncIterator[Pool]:
    """A pool on a database whose schema fits this release."""
    with _reachable():
        connection = await asyncpg.connect(addresses.direct, timeout=10, command_timeout=30)
        try:
            await check_schema(connection)
        finally:
            await connection.close(timeout=5)
        pool = await create_pool(
            addresses.pooled,
            max_size=size,
            statement_cache_size=0 if addresses.through_pooler else None,
        )
    try:
        yield pool
    finally:
        # close() waits for whoever holds a connection; by now that is somebody who hangs.
        pool.terminate()


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        said = str(error) or type(error).__name__
        raise DatabaseUnusableError(
            f"DATABASE_URL: the database cannot be reached: {said}"
        ) from error


async def prepare_schema(addresses: Addresses, settings: Settings) -> list[str]:
    """Bring the schema up to date and register the built-in job types."""
    del settings
    return await migrate(addresses.direct)
