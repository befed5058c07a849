"""How every number is read: in a read-only transaction with a statement timeout of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wastewise_jobs.db.pool import Connection, Pool

READ_SECONDS = 5.0
_LIMIT = f"SET LOCAL statement_timeout = {round(READ_SECONDS * 1000)}"


@asynccontextmanager
async def bounded_read(pool: Pool) -> AsyncIterator[Connection]:
    """A connection on which nothing can be written and nothing takes long."""
    async with (
        pool.acquire(timeout=READ_SECONDS) as connection,
        connection.transaction(readonly=True),
    ):
        await connection.execute(_LIMIT)
        yield connection
