"""A database that takes everything and answers nothing: requests end, the pool recovers."""

import asyncio

import pytest

from benchmarks.chaos.proxy import proxy_to
from tests.support.api import Api, serving
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import create_pool
from wastewise_jobs.jobs import batcher
from wastewise_jobs.web.access import auth
from wastewise_jobs.web.api import events, jobs
from wastewise_jobs.web.http import route


async def test_requests_end_within_their_limit_while_the_database_hangs(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (auth, route, jobs, events):
        monkeypatch.setattr(module, "READ_SECONDS", 0.5)
    monkeypatch.setattr(route, "WRITE_SECONDS", 0.5)
    monkeypatch.setattr(batcher, "_BATCH_SECONDS", 0.5)
    async with (
        proxy_to(db) as proxy,
        create_pool(proxy.dsn(), max_size=3) as pool,
        serving(pool) as api,
    ):
        job_id = await api.new_job()
        proxy.swallow()
        asked = [
            api.get("/api/jobs"),
            api.get(f"/api/jobs/{job_id}"),
            api.get(f"/api/jobs/{job_id}?wait=60"),
            api.get(f"/api/jobs/{job_id}/events"),
            api.analyze(),
        ]
        # The limits, and not those of asyncpg, which are half a minute each.
        async with asyncio.timeout(15):
            replies = await asyncio.gather(*asked)
        proxy.heal()
        async with asyncio.timeout(15):
            again = await eventually(lambda: _seen(api, job_id), within=10)
    assert {(r.status, r.code) for r in replies} == {(503, "database_unavailable")}
    assert again


async def _seen(api: Api, job_id: str) -> bool:
    return (await api.get(f"/api/jobs/{job_id}")).status == 200
