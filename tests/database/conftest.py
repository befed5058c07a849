"""What every test of the database needs: our own pool, the stores on it, one bare connection."""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import connected
from wastewise_jobs.db.pool import Connection, Pool, create_pool, prepare_connection
from wastewise_jobs.jobs.store import JobStore


@pytest.fixture
async def pool(db: str) -> AsyncIterator[Pool]:
    async with create_pool(db, max_size=20) as pool:
        yield pool


@pytest.fixture
def store(pool: Pool) -> JobStore:
    return JobStore(pool)


@pytest.fixture
async def connection(db: str) -> AsyncIterator[Connection]:
    """A superuser at psql: somebody who is not one of our processes."""
    async with connected(db) as connection:
        await prepare_connection(connection)
        yield connection
