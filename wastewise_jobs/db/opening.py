"""Opens the connections of a process; those of the pool may lead through a transaction pooler.

`doctor` opens its own by the same functions: what it says of a connection holds for the service.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wastewise_jobs.db.address import reachable, require_session
from wastewise_jobs.db.connect import connect
from wastewise_jobs.db.pool import Pool, connect_options, create_pool, prepare_connection
from wastewise_jobs.db.schema.migrate import check_schema
from wastewise_jobs.dsn import read_dsn

if TYPE_CHECKING:
    import asyncpg

_CLOSE_SECONDS = 1.0
_STATEMENT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the database is: `pooled` may lead through a transaction pooler, `direct` does not."""

    pooled: str = field(repr=False)
    direct: str = field(repr=False)

    @property
    def through_pooler(self) -> bool:
        """A direct address of its own is given exactly because the other one is pooled."""
        return self.pooled != self.direct or read_dsn(self.pooled).pooler

    @property
    def dropped(self) -> list[str]:
        """The words that have no effect."""
        return sorted({*read_dsn(self.pooled).dropped, *read_dsn(self.direct).dropped})

    @property
    def direct_variable(self) -> str:
        """Where `direct` was said."""
        return "DATABASE_DIRECT_URL" if self.pooled != self.direct else "DATABASE_URL"


@asynccontextmanager
async def checked_pool(
    addresses: Addresses, *, size: int = 2, timeout_seconds: float = 30.0
) -> AsyncIterator[Pool]:
    """A pool on a database whose schema fits this release."""
    async with direct_connection(addresses) as connection:
        await check_schema(connection)
    async with open_pool(addresses, size=size, timeout_seconds=timeout_seconds) as pool:
        yield pool


@asynccontextmanager
async def direct_connection(
    addresses: Addresses, *, name: str = "wastewise-jobs"
) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A session of our own, as the listener and the heartbeat have them.

    Raises DatabaseUnusableError where a pooler is in between.
    """
    with reachable(addresses.direct, variable=addresses.direct_variable):
        connection = await connect(
            addresses.direct,
            **connect_options(application_name=name, command_timeout=_STATEMENT_SECONDS),
        )
    try:
        with reachable(addresses.direct, variable=addresses.direct_variable):
            await require_session(connection, addresses.direct, variable=addresses.direct_variable)
        yield connection
    finally:
        await connection.close(timeout=_CLOSE_SECONDS)


@asynccontextmanager
async def pooled_connection(
    addresses: Addresses, *, timeout_seconds: float = _STATEMENT_SECONDS
) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """One connection such as those of the pool."""
    with reachable(addresses.pooled):
        connection = await connect(
            addresses.pooled, **connect_options(**_of_pool(addresses, timeout_seconds))
        )
    try:
        await prepare_connection(connection)
        yield connection
    finally:
        await connection.close(timeout=_CLOSE_SECONDS)


@asynccontextmanager
async def open_pool(
    addresses: Addresses, *, size: int, timeout_seconds: float = 30.0
) -> AsyncIterator[Pool]:
    """A pool on whatever schema there is."""
    with reachable(addresses.pooled):
        pool = await create_pool(
            addresses.pooled, max_size=size, **_of_pool(addresses, timeout_seconds)
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


def _of_pool(addresses: Addresses, timeout_seconds: float) -> dict[str, Any]:
    return {
        "application_name": "wastewise-jobs",
        "command_timeout": timeout_seconds,
        "statement_cache_size": 0 if addresses.through_pooler else None,
    }
