"""Opens the pool of a process, on the address that may lead through a transaction pooler."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from wastewise_jobs.db.address import reachable
from wastewise_jobs.db.migrate import check_schema
from wastewise_jobs.db.pool import Pool, create_pool

_CLOSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the database is: `pooled` may lead through a transaction pooler, `direct` does not."""

    pooled: str = field(repr=False)
    direct: str = field(repr=False)

    @property
    def through_pooler(self) -> bool:
        """A direct address of its own is given exactly because the other one is pooled."""
        return self.pooled != self.direct

    @property
    def direct_variable(self) -> str:
        """Where `direct` was said."""
        return "DATABASE_DIRECT_URL" if self.through_pooler else "DATABASE_URL"


@asynccontextmanager
async def checked_pool(
    addresses: Addresses, *, size: int = 2, timeout_seconds: float = 30.0
) -> AsyncIterator[Pool]:
    """A pool on a database whose schema fits this release."""
    with reachable(addresses.direct, variable=addresses.direct_variable):
        connection = await asyncpg.connect(addresses.direct, timeout=10, command_timeout=30)
    try:
        await check_schema(connection)
    finally:
        await connection.close(timeout=_CLOSE_SECONDS)
    async with open_pool(addresses, size=size, timeout_seconds=timeout_seconds) as pool:
        yield pool


@asynccontextmanager
async def open_pool(
    addresses: Addresses, *, size: int, timeout_seconds: float = 30.0
) -> AsyncIterator[Pool]:
    """A pool on whatever schema there is."""
    with reachable(addresses.pooled):
        pool = await create_pool(
            addresses.pooled,
            max_size=size,
            command_timeout=timeout_seconds,
            statement_cache_size=0 if addresses.through_pooler else None,
        )
    try:
        yield pool
    finally:
        # close() waits for whoever holds a connection, and hangs with them.
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await pool.close()
        except TimeoutError:
            pool.terminate()
