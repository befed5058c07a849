from collections.abc import AsyncIterator

import pytest

from tests.web.api import Api, serving
from wastewise_jobs.db.pool import Pool, create_pool


@pytest.fixture
async def web_pool(db: str) -> AsyncIterator[Pool]:
    async with create_pool(db, max_size=10) as pool:
        yield pool


@pytest.fixture
async def api(web_pool: Pool) -> AsyncIterator[Api]:
    async with serving(web_pool) as api:
        yield api
