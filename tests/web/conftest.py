from collections.abc import AsyncIterator

import pytest

from tests.conftest import database
from tests.support.api import Api, serving
from wastewise_jobs.db.pool import Pool, create_pool


@pytest.fixture
async def web_pool(db: str) -> AsyncIterator[Pool]:
    async with create_pool(db, max_size=10) as pool:
        yield pool


@pytest.fixture
async def api(web_pool: Pool) -> AsyncIterator[Api]:
    async with serving(web_pool) as api:
        yield api


@pytest.fixture(scope="module")
async def shared_api(postgres: str, template: str, server_version: int) -> AsyncIterator[Api]:
    """One service for a whole module, for tests that do not mind each other's rows."""
    async with (
        database(postgres, template=template, version=server_version) as dsn,
        create_pool(dsn, max_size=10) as pool,
        serving(pool) as api,
    ):
        yield api
