"""What requests write besides new jobs: in transactions that wait for nobody's lock for long.

A row may be held by the transaction of a handler, or by a person at psql. Whoever waits for it
holds a connection that everybody else needs: so the wait has a limit, a user has few such waits at
once, and all of them together leave half of the pool to others. The limit is the transaction's own,
so that it works through a transaction pooler too.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg

from wastewise_jobs.db.locks import a_table_is_held, limit_lock_waits
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.web.http.caller import Caller
from wastewise_jobs.web.http.limits import Turns
from wastewise_jobs.web.http.problems import BUSY, ProblemError

LOCK_WAIT_MILLISECONDS = 2000
_MOST_OF_A_USER = 2


class Writes:
    """Hands out transactions on the pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._turns = Turns(_MOST_OF_A_USER)
        self._places = asyncio.Semaphore(max(1, pool.get_max_size() // 2))

    @contextlib.asynccontextmanager
    async def transaction(self, caller: Caller) -> AsyncIterator[Connection]:
        """A transaction; raises ProblemError `busy` when somebody holds a row that it needs."""
        async with (
            self._turns.enter(caller),
            self._places,
            self._pool.acquire() as connection,
        ):
            try:
                async with connection.transaction():
                    await limit_lock_waits(connection, LOCK_WAIT_MILLISECONDS)
                    yield connection
            except asyncpg.LockNotAvailableError:
                if await a_table_is_held(connection):
                    raise
                raise busy() from None


def busy() -> ProblemError:
    """The answer where somebody else holds what is to be changed."""
    detail = "somebody else is changing this at the moment; try again in a few seconds"
    return ProblemError(BUSY, detail)
