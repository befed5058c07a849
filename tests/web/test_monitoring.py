"""The numbers that admins see, over HTTP."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.api import ADA, ANN, Api, serving
from tests.support.factories import at, claim, enqueue_one, insert_plainly
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.monitoring.prometheus import Exposition
from wastewise_jobs.workers.store import WorkerStore

MONITORING = "/api/admin/jobs/monitoring"
WORKERS = "/api/admin/workers/health"
TRENDS = "/api/admin/jobs/trends"


@pytest.fixture
async def watched(web_pool: Pool) -> AsyncIterator[Api]:
    async with serving(web_pool, silent_after=timedelta(minutes=5)) as api:
        yield api


async def seen(api: Api, path: str) -> Any:
    reply = await api.get(path, user=ADA, admin=True)
    assert reply.status == 200, reply.body
    body = reply.json
    assert set(body) == {"success", "data", "timestamp"}
    assert body["success"] is True
    assert abs(datetime.fromisoformat(body["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=1)
    return body["data"]


async def beat(pool: Pool, worker_id: str, *, minutes_ago: float = 0) -> None:
    await pool.execute(
        "INSERT INTO job_workers (worker_id, name, host, pid, version, queues, job_types, "
        "concurrency, last_heartbeat_at, cpu_percent, memory_bytes, loop_lag_seconds) "
        "VALUES ($1, 'w', 'h', 7, '0.1.0', '{*}', '{echo}', 100, $2, 12.5, 1048576, 0.25)",
        worker_id,
        at(minutes=-minutes_ago),
    )


@pytest.mark.parametrize("path", [MONITORING, WORKERS, TRENDS])
async def test_only_admins_see_the_numbers(api: Api, path: str) -> None:
    assert (await api.get(path, user=ANN)).status == 403
    assert (await api.get(path, user=None)).status == 401


async def test_the_names_are_exactly_those_that_dashboards_know(watched: Api) -> None:
    data = await seen(watched, MONITORING)
    known = [
        "total_pending",
        "total_processing",
        "total_failed_today",
        "total_completed_today",
        "by_priority",
        "avg_duration_seconds",
        "error_rate_1h",
        "error_rate_24h",
        "stuck_jobs",
    ]
    assert list(data)[: len(known)] == known
    assert data["by_priority"] == {}
    await enqueue_one(watched.jobs, job_type="echo", priority=1)
    data = await seen(watched, MONITORING)
    assert (data["total_pending"], data["by_priority"]) == (1, {"1": 1})
    assert data["by_job_type"] == {"echo": {"pending": 1, "processing": 0}}


async def test_nobody_alive_is_unhealthy(watched: Api) -> None:
    await beat(watched.pool, "gone", minutes_ago=6)
    data = await seen(watched, WORKERS)
    assert data["status"] == "unhealthy"
    assert (data["activeWorkers"], data["workerIds"]) == (0, [])
    assert [worker["alive"] for worker in data["workers"]] == [False]
    assert (data["lastJobProcessed"], data["minutesSinceLastJob"]) == (None, None)


async def test_an_idle_fleet_on_an_empty_queue_is_healthy(watched: Api) -> None:
    await beat(watched.pool, "idle")
    await insert_plainly(watched.pool, status="completed", completed_at=at(minutes=-300))
    data = await seen(watched, WORKERS)
    assert data["status"] == "healthy"
    assert (data["activeWorkers"], data["workerIds"]) == (1, ["idle"])
    assert data["minutesSinceLastJob"] == pytest.approx(300, abs=1)
    assert (data["jobsProcessedLastHour"], data["jobsProcessedLastDay"]) == (0, 1)
    assert data["throughput"] == {"perHour": 0, "perDay": 1}
    (worker,) = data["workers"]
    assert worker["cpuPercent"] == 12.5
    assert worker["memoryBytes"] == 1048576
    assert worker["loopLagSeconds"] == 0.25


async def test_a_fleet_that_lets_due_jobs_wait_is_degraded_until_one_ends(watched: Api) -> None:
    await beat(watched.pool, "slow")
    await insert_plainly(watched.pool, created_at=at(minutes=-9))
    assert (await seen(watched, WORKERS))["status"] == "healthy"
    await insert_plainly(watched.pool, created_at=at(minutes=-11))
    assert (await seen(watched, WORKERS))["status"] == "degraded"
    await insert_plainly(watched.pool, status="completed", completed_at=at(minutes=-2))
    assert (await seen(watched, WORKERS))["status"] == "healthy"


async def test_a_job_that_waits_for_its_time_degrades_nobody(watched: Api) -> None:
    await beat(watched.pool, "idle")
    await insert_plainly(watched.pool, created_at=at(minutes=-60), retry_after=at(minutes=60))
    assert (await seen(watched, WORKERS))["status"] == "healthy"


async def test_whoever_calls_get_next_job_is_alive_for_five_minutes(watched: Api) -> None:
    # Also when there is nothing to claim.
    assert await watched.pool.fetchval("SELECT get_next_job('script')") is None
    data = await seen(watched, WORKERS)
    assert (data["status"], data["workerIds"], data["workers"]) == ("healthy", ["script"], [])
    await watched.pool.execute("UPDATE job_workers SET last_heartbeat_at = $1", at(minutes=-6))
    assert (await seen(watched, WORKERS))["status"] == "unhealthy"
    await watched.pool.fetchval("SELECT get_next_job('script')")
    assert (await seen(watched, WORKERS))["workerIds"] == ["script"]


async def test_a_worker_that_stopped_cleanly_is_gone_at_once(watched: Api) -> None:
    await beat(watched.pool, "w1")
    job_id = await enqueue_one(watched.jobs, job_type="echo")
    (job,) = await claim(watched.jobs, job_types=["echo"], worker_id="w1")
    await watched.jobs.complete([(job, Completed())])
    assert (await seen(watched, WORKERS))["workerIds"] == ["w1"]
    await WorkerStore().goodbye("w1", executor=watched.pool)
    data = await seen(watched, WORKERS)
    assert (data["status"], data["workerIds"]) == ("unhealthy", [])
    assert data["reasons"] == ["no worker is alive"]
    assert str(job_id) == str(job.id)


async def test_work_that_nobody_carries_is_a_reason(watched: Api) -> None:
    await beat(watched.pool, "w1")
    await insert_plainly(watched.pool, job_type="ehco", created_at=at(minutes=-29))
    assert (await seen(watched, WORKERS))["reasons"] == [
        "due jobs wait, and none has ended for 10 minutes"
    ]
    await insert_plainly(watched.pool, status="completed", completed_at=at(minutes=-2))
    await insert_plainly(watched.pool, job_type="ehco", created_at=at(minutes=-91))
    await insert_plainly(watched.pool, job_type="echo", created_at=at(minutes=-91))
    data = await seen(watched, WORKERS)
    assert data["status"] == "degraded"
    (reason,) = data["reasons"]
    assert re.fullmatch(
        r"no live worker carries ehco \(queue default\), due for 1 h 31 min", reason
    )
    ready = await watched.get("/readyz", user=None)
    assert (ready.status, ready.json["checks"]["work"]) == (200, "unserved")


async def test_alerts_that_could_not_be_delivered_are_counted_once_everywhere(
    watched: Api,
) -> None:
    await beat(watched.pool, "w1")
    for name in ("a", "b"):
        await watched.pool.execute(
            "INSERT INTO public.job_alert_deliveries (alert_id, channel, notice, status) "
            "SELECT public.raise_alert($1, 'job_stuck', 'warning', 'x'), c, 'raised', $2 "
            "FROM unnest(ARRAY['email', 'slack']) AS c",
            name,
            "undelivered" if name == "a" else "delivered",
        )
    assert (await seen(watched, MONITORING))["alerts_undelivered"] == 1
    data = await seen(watched, WORKERS)
    assert (data["status"], data["reasons"]) == ("healthy", ["1 alert could not be delivered"])
    text = (await Exposition(watched.pool).text()).decode()
    assert "wastewise_alerts_undelivered 1.0" in text.splitlines()


async def test_a_registered_worker_is_named_once(watched: Api) -> None:
    await beat(watched.pool, "w1")
    await enqueue_one(watched.jobs, job_type="echo")
    assert await claim(watched.jobs, job_types=["echo"], worker_id="w1")
    assert (await seen(watched, WORKERS))["workerIds"] == ["w1"]


async def test_trends_come_from_the_rollups(watched: Api) -> None:
    await insert_plainly(
        watched.pool, status="completed", completed_at=at(minutes=-40), duration_seconds=2.0
    )
    assert (await seen(watched, TRENDS))["buckets"] == []
    await watched.pool.execute("SELECT roll_up_jobs()")
    data = await seen(watched, f"{TRENDS}?window=24h&bucket=1h")
    assert (data["window"], data["bucket"]) == ("24h", "1h")
    assert data["rolledUpUntil"] is not None
    (bucket,) = data["buckets"]
    assert (bucket["jobType"], bucket["completed"], bucket["failed"]) == ("complete_analysis", 1, 0)
    assert bucket["runP50"] == pytest.approx(2, rel=0.16)


@pytest.mark.parametrize(
    "query",
    [
        "window=x",
        "window=1.5h",
        "bucket=7m",
        "bucket=20m",
        "window=400d&bucket=15m",
        "window=500d",
        "window=0h",
        "bucket=٣h",
        "window=-1h",
        "window=99999d",
    ],
)
async def test_windows_that_cannot_be_are_refused(shared_api: Api, query: str) -> None:
    reply = await shared_api.get(f"{TRENDS}?{query}", user=ADA, admin=True)
    assert (reply.status, reply.code) == (400, "invalid_value"), reply.body
