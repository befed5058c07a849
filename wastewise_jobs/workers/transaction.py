"""What a handler has of the database: connections, and a transaction that completes its job.

A handler's statements may change whatever a session can: its role, its search path, its limits.
Our own statements must not meet that, nor may whoever has the connection next.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg

from wastewise_jobs.db import sessions
from wastewise_jobs.db.pool import Connection, Pool, drop
from wastewise_jobs.errors import LeaseLostError, RetryableError
from wastewise_jobs.handlers.context import JobContext
from wastewise_jobs.jobs.failure_rules import DATABASE_UNAVAILABLE
from wastewise_jobs.jobs.model import ClaimedJob
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.workers.execute import completed

_CONNECTION_LIMIT_SECONDS = 30.0


class Transactions:
    """Connections of `pool` for handlers, `most` at a time."""

    def __init__(self, pool: Pool, *, lease: timedelta, most: int) -> None:
        self._pool = pool
        self._store = JobStore(pool)
        self._lease = lease
        self._free = asyncio.Semaphore(most)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for code that is not ours; the pool has it back as it was, or not at all."""
        async with self._free:
            try:
                connection = await self._pool.acquire(timeout=_CONNECTION_LIMIT_SECONDS)
            except (OSError, asyncpg.InterfaceError) as error:
                message = f"the database cannot be reached: {type(error).__name__}"
                raise RetryableError(message, code=DATABASE_UNAVAILABLE) from error
            try:
                yield connection
            except asyncpg.FeatureNotSupportedError:
                # A plan that was made before a migration: other sessions hold such ones as well.
                await self._pool.expire_connections()
                drop(connection)
                raise
            finally:
                try:
                    await sessions.reset(connection)
                finally:
                    await self._pool.release(connection)

    @asynccontextmanager
    async def completing(self, job: ClaimedJob, context: JobContext) -> AsyncIterator[Connection]:
        """A transaction that ends with the completion of the job, or with nothing."""
        async with self.connection() as connection:
            try:
                async with connection.transaction():
                    await self._store.hold(job, idle_limit=self._lease, connection=connection)
                    context.holding = True
                    yield connection
                    await self._undo_settings(connection)
                    outcome = completed(context, context.result)
                    if not await self._store.complete([(job, outcome)], executor=connection):
                        raise LeaseLostError(job.id, job.fence)
                context.completed = True
            except asyncpg.InterfaceError as error:
                if sessions.is_gone(connection):
                    # Whatever asyncpg says of a connection that broke under the handler.
                    message = "the connection was lost in the job's own transaction"
                    raise RetryableError(message, code=DATABASE_UNAVAILABLE) from error
                raise
            finally:
                context.holding = context.completed

    async def _undo_settings(self, connection: Connection) -> None:
        # And the limit that HOLD has set, once more.
        limit = max(round(self._lease.total_seconds() * 1000), 1)
        if await sessions.undo_settings(connection, idle_milliseconds=limit):
            message = "the handler has set transaction_read_only, which forbids the completion too"
            raise RetryableError(message, code="TRANSACTION_READ_ONLY")
