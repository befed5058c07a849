"""/metrics: who may read it, and that every line is what Prometheus expects."""

import re
from collections.abc import Iterator, Mapping

import aiohttp
import pytest
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import connected
from tests.support.api import ADA, ANN, Api, serving
from tests.support.factories import at, enqueue_one, insert_plainly
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.monitoring.prometheus import Exposition
from wastewise_jobs.web.app import create_metrics_app
from wastewise_jobs.web.http.server import listening

NAMES = {
    "wastewise_database_up",
    "wastewise_queue_jobs",
    "wastewise_queue_oldest_due_seconds",
    "wastewise_alerts_open",
    "wastewise_alerts_undelivered",
    "wastewise_workers_registered",
    "wastewise_jobs_repaired",
    "wastewise_jobs_astray",
    "wastewise_pool_connections",
    "wastewise_pool_connections_max",
    "wastewise_build",
}


def families(text: bytes) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def values(family: Metric) -> dict[tuple[tuple[str, str], ...], float]:
    return {tuple(sorted(s.labels.items())): s.value for s in family.samples}


def well_named(found: Mapping[str, Metric]) -> Iterator[str]:
    """What promtool would complain about."""
    for family in found.values():
        if not re.fullmatch(r"wastewise_[a-z0-9_]+", family.name):
            yield f"{family.name} is no good name"
        if not family.documentation:
            yield f"{family.name} has no help"
        if family.type not in {"gauge", "counter", "histogram"}:
            yield f"{family.name} is of no type"
        for sample in family.samples:
            if family.type == "counter" and not sample.name.endswith("_total"):
                yield f"{sample.name} counts without _total"
            if family.type == "gauge" and sample.name.endswith(("_total", "_count", "_sum")):
                yield f"{sample.name} is a gauge"


async def test_on_the_main_port_it_is_for_admins(api: Api) -> None:
    assert (await api.get("/metrics", user=None)).status == 401
    assert (await api.get("/metrics", user=ANN)).status == 403
    reply = await api.get("/metrics", user=ADA, admin=True)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == CONTENT_TYPE_LATEST
    found = families(reply.body)
    assert set(found) == NAMES
    assert list(well_named(found)) == []


async def test_what_was_repaired_is_counted(web_pool: Pool) -> None:
    async with serving(web_pool) as api:
        await enqueue_one(api.jobs, job_type="echo")
        await web_pool.execute("DELETE FROM job_queue")
        await web_pool.execute("SELECT repair_job_queue()")
        found = families((await api.get("/metrics", user=ADA, admin=True)).body)
    assert values(found["wastewise_jobs_repaired"]) == {(): 1}
    assert values(found["wastewise_jobs_astray"]) == {(): 0}


async def test_the_depth_of_the_queue_is_told_by_queue_priority_and_state(
    web_pool: Pool,
) -> None:
    async with serving(web_pool) as api:
        await enqueue_one(api.jobs, job_type="echo", priority=3)
        await insert_plainly(web_pool, priority=3, created_at=at(minutes=-10))
        await insert_plainly(web_pool, priority=9, retry_after=at(minutes=10), queue="reports")
        found = families((await api.get("/metrics", user=ADA, admin=True)).body)
    assert values(found["wastewise_queue_jobs"]) == {
        (("priority", "3"), ("queue", "default"), ("state", "due")): 2,
        (("priority", "9"), ("queue", "reports"), ("state", "scheduled")): 1,
    }
    ages = values(found["wastewise_queue_oldest_due_seconds"])
    assert ages[(("queue", "default"),)] == pytest.approx(600, abs=30)
    assert ages[(("queue", "reports"),)] == 0


async def test_open_alerts_are_told(web_pool: Pool) -> None:
    await web_pool.execute("SELECT raise_alert('a', 'worker_down', 'critical', 'gone')")
    await web_pool.execute("SELECT raise_alert('b', 'job_stuck', 'warning', 'slow')")
    await web_pool.execute("SELECT resolve_alerts(ARRAY['b'])")
    found = families(await Exposition(web_pool).text())
    assert values(found["wastewise_alerts_open"]) == {
        (("acknowledged", "false"), ("alert_type", "worker_down"), ("severity", "critical")): 1
    }


async def test_the_port_of_its_own_asks_for_nothing(web_pool: Pool) -> None:
    late = ["look"]
    app = create_metrics_app(web_pool, Exposition(web_pool), late_loops=lambda: late)
    async with listening(app, "127.0.0.1", 0) as address, aiohttp.ClientSession() as session:

        async def status(path: str) -> int:
            async with session.get(address.url + path) as response:
                return response.status

        assert await status("/metrics") == 200
        assert await status("/readyz") == 200
        assert await status("/livez") == 503
        late.clear()
        assert await status("/livez") == 200
        assert await status("/api/jobs") == 404


async def test_without_a_database_the_process_still_speaks_for_itself(
    web_pool: Pool, db: str
) -> None:
    exposition = Exposition(web_pool)
    async with connected(db) as operator:
        await operator.execute("ALTER TABLE job_queue RENAME TO gone")
        found = families(await exposition.text())
        await operator.execute("ALTER TABLE gone RENAME TO job_queue")
    assert values(found["wastewise_database_up"]) == {(): 0}
    assert "wastewise_queue_jobs" not in found
    assert "wastewise_pool_connections_max" in found
