"""The periodic task: who runs it, what it raises and resolves, and who hears that it ran."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.conftest import connected
from tests.support.factories import (
    at,
    claim,
    enqueue,
    enqueue_one,
    insert_plainly,
    make_job,
    make_running,
)
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.maintenance.check import Check
from wastewise_jobs.maintenance.checks import Thresholds, all_checks
from wastewise_jobs.maintenance.ping import Ping
from wastewise_jobs.maintenance.rounds import Maintenance

OPEN = """
SELECT alert_type, severity, job_id, occurrences, message, details
FROM job_alerts
WHERE resolved_at IS NULL
ORDER BY alert_type, fingerprint
"""


@pytest.fixture
def store(pool: Pool) -> JobStore:
    return JobStore(pool)


def maintenance(pool: Pool, *checks: Check, **options: Any) -> Maintenance:
    times = {"interval": timedelta(seconds=60), "jitter": timedelta(0)}
    return Maintenance(pool, checks or all_checks(Thresholds()), **(times | options))


async def check(pool: Pool, **options: Any) -> list[dict[str, Any]]:
    """One more round, and the alerts that are open after it."""
    await pool.execute("UPDATE schema_info SET round_due_at = now()")
    rounds = maintenance(pool, **options)
    assert await rounds.tick()
    assert not rounds.failures
    return [dict(row) for row in await pool.fetch(OPEN)]


async def finished(pool: Pool, *, completed: int = 0, failed: int = 0, ago: float = 20) -> None:
    for status, count in (("completed", completed), ("failed", failed)):
        for _ in range(count):
            await insert_plainly(pool, status=status, completed_at=at(minutes=-ago))


async def test_a_quiet_database_raises_nothing(pool: Pool) -> None:
    assert await check(pool) == []


async def test_of_many_processes_one_runs_the_round(pool: Pool) -> None:
    fleet = [maintenance(pool) for _ in range(6)]
    assert sum(await asyncio.gather(*(one.tick() for one in fleet))) == 1
    assert not await fleet[0].tick()
    await pool.execute("UPDATE schema_info SET round_due_at = now()")
    assert sum(await asyncio.gather(*(one.tick() for one in fleet))) == 1
    assert sum(one.rounds for one in fleet) == 2


async def test_a_round_that_is_under_way_is_not_doubled(pool: Pool, db: str) -> None:
    slow = maintenance(
        pool, Check("slow", "SELECT count(pg_advisory_xact_lock(42))"), interval=timedelta(0)
    )
    async with connected(db) as other:
        await other.execute("SELECT pg_advisory_lock(42)")
        running = asyncio.create_task(slow.tick())
        await eventually(lambda: other.fetchval("SELECT round_until > now() FROM schema_info"))
        assert not await maintenance(pool).tick()
        await other.execute("SELECT pg_advisory_unlock(42)")
        assert await running
        assert await maintenance(pool).tick()


async def test_a_round_whose_process_died_is_run_again(pool: Pool) -> None:
    await pool.execute("UPDATE schema_info SET round_until = now() + interval '1 minute'")
    assert not await maintenance(pool).tick()
    await pool.execute("UPDATE schema_info SET round_until = now() - interval '1 second'")
    assert await maintenance(pool).tick()


async def test_a_check_that_fails_is_counted_and_the_others_go_on(pool: Pool) -> None:
    pinged = []

    async def ping() -> None:
        pinged.append(1)

    good = Check("good", "INSERT INTO job_rollup_marks VALUES (now()) RETURNING 1")
    rounds = maintenance(pool, Check("bad", "SELECT 1 / 0"), good, on_round=ping)
    assert await rounds.tick()
    assert rounds.failures == {"bad": 1}
    assert await pool.fetchval("SELECT count(*) FROM job_rollup_marks") == 1
    assert pinged == []


async def test_a_job_that_is_stuck_is_told_once_until_it_finishes(
    pool: Pool, store: JobStore
) -> None:
    job = await make_running(store)
    await make_running(store)
    assert await check(pool) == []
    await pool.execute(
        "UPDATE analysis_jobs SET started_at = now() - interval '31 minutes' WHERE id = $1", job.id
    )
    for _ in range(3):
        (alert,) = await check(pool)
        assert (alert["alert_type"], alert["severity"]) == ("job_stuck", "warning")
        assert (alert["job_id"], alert["occurrences"]) == (job.id, 1)
        assert alert["details"]["worker_id"] == "w1"
    await store.complete([(job, Completed())])
    assert await check(pool) == []


async def test_a_job_past_its_own_timeout_is_stuck_too(pool: Pool, store: JobStore) -> None:
    await enqueue_one(store, timeout_seconds=60.0)
    (job,) = await claim(store)
    await pool.execute("UPDATE analysis_jobs SET started_at = now() - interval '110 seconds'")
    assert await check(pool) == []
    await pool.execute("UPDATE analysis_jobs SET started_at = now() - interval '130 seconds'")
    (alert,) = await check(pool)
    assert (alert["alert_type"], alert["job_id"]) == ("job_stuck", job.id)


async def test_a_high_error_rate_is_told_once_and_over_after_two_checks(pool: Pool) -> None:
    await finished(pool, completed=8, failed=2)
    for _ in range(2):
        (alert,) = [a for a in await check(pool) if a["alert_type"] == "high_error_rate"]
        assert (alert["severity"], alert["occurrences"]) == ("critical", 1)
        assert (
            alert["message"] == "20.0 % of the jobs that finished in the last hour failed (2 of 10)"
        )
    await finished(pool, completed=20)

    async def rate_alerts() -> list[dict[str, Any]]:
        return [a for a in await check(pool) if a["alert_type"] == "high_error_rate"]

    assert len(await rate_alerts()) == 1
    await finished(pool, failed=10)
    assert len(await rate_alerts()) == 1
    await finished(pool, completed=200)
    assert len(await rate_alerts()) == 1
    assert await rate_alerts() == []


@pytest.mark.parametrize(
    ("completed", "failed", "ago"), [(1, 1, 20), (0, 9, 20), (9, 1, 20), (0, 50, 61)]
)
async def test_few_jobs_a_rate_at_the_threshold_and_old_failures_wake_nobody(
    pool: Pool, completed: int, failed: int, ago: float
) -> None:
    await finished(pool, completed=completed, failed=failed, ago=ago)
    assert [a for a in await check(pool) if a["alert_type"] == "high_error_rate"] == []


async def silent(pool: Pool, worker_id: str, minutes: float) -> None:
    await pool.execute(
        "INSERT INTO job_workers (worker_id, name, host, pid, version, queues, job_types, "
        "concurrency, last_heartbeat_at) VALUES ($1, 'w', 'h', 7, '0', '{*}', '{echo}', 9, $2) "
        "ON CONFLICT (worker_id) DO UPDATE SET last_heartbeat_at = excluded.last_heartbeat_at",
        worker_id,
        at(minutes=-minutes),
    )


async def test_a_silent_worker_is_told_once_until_it_is_back(pool: Pool) -> None:
    await silent(pool, "alive", 4)
    await silent(pool, "gone", 6)
    for _ in range(2):
        (alert,) = await check(pool)
        assert (alert["alert_type"], alert["severity"]) == ("worker_down", "critical")
        assert (alert["details"]["worker_id"], alert["occurrences"]) == ("gone", 1)
    await silent(pool, "gone", 0)
    assert await check(pool) == []
    await pool.execute("UPDATE job_alerts SET created_at = now() - interval '1 hour'")
    await silent(pool, "gone", 6)
    assert len(await check(pool)) == 1


async def test_a_silent_worker_that_was_dismissed_stays_so(pool: Pool) -> None:
    await silent(pool, "gone", 6)
    assert len(await check(pool)) == 1
    await pool.execute("SELECT resolve_alert(id, 'ada') FROM job_alerts")
    assert await check(pool) == []
    assert await pool.fetchval("SELECT count(*) FROM job_workers") == 0
    assert await check(pool) == []


async def test_work_that_nobody_carries_is_told_until_somebody_does(pool: Pool) -> None:
    await insert_plainly(pool, job_type="ehco", created_at=at(minutes=-29))
    assert await check(pool) == []
    job_id = await insert_plainly(pool, job_type="ehco", created_at=at(minutes=-31))
    await insert_plainly(pool, job_type="echo", queue="mail", created_at=at(minutes=-31))
    await silent(pool, "w1", 0)
    await pool.execute("UPDATE job_workers SET queues = '{default}'")
    for _ in range(2):
        (first, second) = await check(pool)
        assert (first["alert_type"], first["severity"]) == ("job_stuck", "warning")
        assert first["message"] == "no live worker carries ehco (queue default)"
        assert (first["job_id"], first["occurrences"]) == (job_id, 1)
        assert first["details"]["cause"] == "unserved"
        assert second["message"] == "no live worker serves queue mail for echo"
    await pool.execute("UPDATE job_workers SET job_types = '{ehco,echo}'")
    (left,) = await check(pool)
    assert left["details"]["queue"] == "mail"
    await pool.execute("DELETE FROM analysis_jobs WHERE queue = 'mail'")
    assert await check(pool) == []


async def test_stuck_jobs_and_work_that_nobody_carries_are_causes_of_their_own(
    pool: Pool, store: JobStore
) -> None:
    job = await make_running(store)
    await pool.execute("UPDATE analysis_jobs SET started_at = now() - interval '31 minutes'")
    await insert_plainly(pool, job_type="ehco", created_at=at(minutes=-31))
    for _ in range(2):
        assert [alert["details"].get("cause") for alert in await check(pool)] == [None, "unserved"]
    await store.complete([(job, Completed())])
    assert [alert["details"].get("cause") for alert in await check(pool)] == ["unserved"]


async def test_what_nobody_carries_and_what_is_kept_is_a_warning_in_the_log(pool: Pool) -> None:
    await insert_plainly(pool, job_type="ehco", created_at=at(minutes=-31))
    await pool.execute(
        "INSERT INTO public.job_prune_holds (table_name, row_name, reason) "
        "SELECT 'analysis_jobs', n::text, 'on table notes' FROM generate_series(1, 3) AS n"
    )
    with capture_logs() as logs:
        await check(pool)
    told = {one["check"]: one for one in logs if one["event"] == "check_warned"}
    for name, count in (("unserved_work", {"unserved": 1}), ("held_rows", {"held": 3})):
        assert told[name]["log_level"] == "warning"
        assert told[name].items() >= count.items()
    assert told["unserved_work"]["says"] == "no live worker carries ehco (queue default)"
    assert told["held_rows"]["says"] == "on table notes"


async def test_who_calls_get_next_job_no_more_is_missed_by_nobody(pool: Pool) -> None:
    await pool.fetchval("SELECT get_next_job('script')")
    await pool.execute("UPDATE job_workers SET last_heartbeat_at = now() - interval '1 hour'")
    assert await check(pool) == []
    await pool.execute("UPDATE job_workers SET last_heartbeat_at = now() - interval '25 hours'")
    assert await check(pool) == []
    assert await pool.fetchval("SELECT count(*) FROM job_workers") == 0


async def test_a_caller_that_is_back_after_a_day_holds_up_no_check(pool: Pool, db: str) -> None:
    await pool.fetchval("SELECT get_next_job('script')")
    await pool.execute("UPDATE job_workers SET last_heartbeat_at = now() - interval '25 hours'")
    async with connected(db) as other, other.transaction():
        await other.fetchval("SELECT get_next_job('script')")
        assert await check(pool) == []


async def test_a_foreign_key_on_one_job_stops_no_check(pool: Pool) -> None:
    await finished(pool, completed=3, ago=60 * 24 * 31)
    await pool.execute(
        "CREATE TABLE notes (job_id uuid REFERENCES analysis_jobs);"
        "INSERT INTO notes SELECT id FROM analysis_jobs LIMIT 1"
    )
    await check(pool)
    assert await pool.fetchval("SELECT count(*) FROM analysis_jobs") == 1
    assert await pool.fetchval("SELECT count(*) FROM job_prune_holds") == 1


async def test_checks_that_take_for_ever_leave_the_others_their_time(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wastewise_jobs.maintenance.rounds._LONGEST_CHECK_SECONDS", 0.2)
    good = Check("good", "INSERT INTO job_rollup_marks VALUES (now()) RETURNING 1")
    endless = Check("endless", "SELECT 1 FROM pg_sleep(0.02)", in_steps=True)
    waiting = Check("waiting", "SELECT count(pg_sleep(60))")
    rounds = maintenance(pool, endless, waiting, endless, good)
    assert await rounds.tick()
    assert rounds.failures == {"waiting": 1}
    assert await pool.fetchval("SELECT count(*) FROM job_rollup_marks") == 1


async def test_finished_jobs_are_pruned_after_their_time_and_their_trends_stay(
    pool: Pool, store: JobStore
) -> None:
    await enqueue(store, *(make_job() for _ in range(2)))
    await finished(pool, completed=3, ago=60 * 24 * 31)
    await finished(pool, completed=2, ago=60 * 24 * 29)
    await check(pool)
    assert await pool.fetchval("SELECT count(*) FROM analysis_jobs") == 4
    assert await pool.fetchval("SELECT sum(completed) FROM job_trends('40 days', '1 day')") == 5


async def test_nothing_is_pruned_before_it_is_counted(pool: Pool, db: str) -> None:
    await finished(pool, completed=3, ago=60 * 24 * 31)
    prune = next(one for one in all_checks(Thresholds()) if one.name == "prune")
    assert await maintenance(pool, prune).tick()
    assert await pool.fetchval("SELECT count(*) FROM analysis_jobs") == 3


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[str]]]:
    """An address to ping, and the paths that were asked for there."""
    heard: list[str] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append(f"{request.method} {request.path}")
        return web.Response(status=500 if request.path == "/bad" else 200)

    app = web.Application()
    app.router.add_route("*", "/{any}", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}", heard
    await runner.cleanup()


async def test_the_ping_goes_out_after_each_full_round(
    pool: Pool, receiver: tuple[str, list[str]]
) -> None:
    url, heard = receiver
    await check(pool, on_round=Ping(f"{url}/beat").send)
    assert heard == ["GET /beat"]
    await check(pool, on_round=Ping(f"{url}/bad").send)
    await check(pool, on_round=Ping("http://127.0.0.1:1/closed").send)
    assert heard == ["GET /beat", "GET /bad"]


async def test_the_loop_goes_on_through_an_outage(pool: Pool, db: str) -> None:
    rounds = maintenance(pool, interval=timedelta(milliseconds=20))
    task = asyncio.create_task(rounds.run())
    await eventually(lambda: rounds.rounds > 0)
    async with connected(db) as operator:
        await operator.execute("ALTER TABLE schema_info RENAME TO gone")
        await eventually(lambda: rounds.failing)
        await operator.execute("ALTER TABLE gone RENAME TO schema_info")
    before = rounds.rounds
    await eventually(lambda: rounds.rounds > before)
    assert not rounds.beat.late
    task.cancel()
