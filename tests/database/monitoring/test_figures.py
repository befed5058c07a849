"""What the numbers say about rows that are counted by hand, rolled up and not."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest

from tests.conftest import connected
from tests.support.factories import at, enqueue_one, expire_leases, insert_plainly, make_running
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.jobs.store import JobStore

EMPTY = {
    "total_pending": 0,
    "total_processing": 0,
    "total_failed_today": 0,
    "total_completed_today": 0,
    "by_priority": {},
    "avg_duration_seconds": 0,
    "error_rate_1h": 0,
    "error_rate_24h": 0,
    "stuck_jobs": 0,
    "oldest_due_seconds": None,
    "due": 0,
    "scheduled": 0,
    "dead_letters": 0,
    "alerts_open": 0,
    "alerts_undelivered": 0,
    "by_job_type": {},
    "by_queue": {},
    "throughput_per_minute": 0,
}


async def figures(connection: Connection, zone: str = "UTC") -> dict[str, Any]:
    found: dict[str, Any] = await connection.fetchval("SELECT get_queue_metrics($1)", zone)
    return found


async def rolled_up(connection: Connection) -> None:
    while await connection.fetchval("SELECT roll_up_jobs()"):
        pass


async def ended(connection: Connection, status: str, minutes_ago: float, **columns: Any) -> None:
    moment = at(minutes=-minutes_ago)
    times = {"completed_at": moment, "started_at": moment - timedelta(seconds=4)}
    failed = {"failed_at": moment} if status == "failed" else {}
    await insert_plainly(connection, status=status, **(times | failed | columns))


async def test_an_empty_database_has_only_zeros(connection: Connection) -> None:
    assert await figures(connection) == EMPTY
    assert await connection.fetchval("SELECT calculate_error_rate()") == 0
    assert await connection.fetch("SELECT * FROM detect_stuck_jobs()") == []
    assert await connection.fetchval("SELECT get_queue_metrics()") == EMPTY


async def test_pending_counts_every_pending_job_whenever_it_was_created(
    connection: Connection, store: JobStore
) -> None:
    await make_running(store, priority=1)
    await insert_plainly(connection, priority=2, created_at=at(minutes=-3000))
    await insert_plainly(connection, priority=2, created_at=at(minutes=-10), queue="reports")
    await insert_plainly(connection, priority=7, retry_after=at(minutes=5), job_type="cleanup")
    found = await figures(connection)
    assert found["total_pending"] == 3
    assert found["total_processing"] == 1
    assert found["by_priority"] == {"2": 2, "7": 1}
    assert (found["due"], found["scheduled"]) == (2, 1)
    assert 3000 * 60 <= found["oldest_due_seconds"] < 3001 * 60
    assert found["by_queue"] == {
        "default": {"pending": 2, "processing": 1},
        "reports": {"pending": 1, "processing": 0},
    }
    assert found["by_job_type"] == {
        "complete_analysis": {"pending": 2, "processing": 1},
        "cleanup": {"pending": 1, "processing": 0},
    }


@pytest.mark.parametrize("rolled", [False, True])
async def test_finished_jobs_are_counted_by_the_time_they_finished(
    connection: Connection,
    rolled: bool,  # noqa: FBT001
) -> None:
    for minutes in (3, 20, 59):
        await ended(connection, "completed", minutes, duration_seconds=10.0)
    await ended(connection, "completed", 4, duration_seconds=None)
    await ended(connection, "failed", 20, duration_seconds=900.0)
    await ended(connection, "failed", 61)
    await ended(connection, "cancelled", 5, duration_seconds=900.0)
    await ended(connection, "completed", 300, duration_seconds=30.0)
    await ended(connection, "completed", 1441, duration_seconds=700.0)
    if rolled:
        await rolled_up(connection)
        assert await connection.fetchval("SELECT count(*) FROM job_rollups") > 0
    found = await figures(connection)
    assert found["error_rate_1h"] == pytest.approx(100 * 1 / 5)
    assert found["error_rate_24h"] == pytest.approx(100 * 2 / 7)
    assert found["avg_duration_seconds"] == pytest.approx(15.0)
    assert found["dead_letters"] == 2
    assert found["throughput_per_minute"] == pytest.approx(2 / 5)
    assert await connection.fetchval("SELECT calculate_error_rate('1 hour')") == pytest.approx(20)
    assert await connection.fetchval("SELECT calculate_error_rate('3 days')") == pytest.approx(25)
    assert await connection.fetchval(
        "SELECT calculate_error_rate(time_window => '2 hours')"
    ) == pytest.approx(100 * 2 / 6)


async def test_a_failure_without_completed_at_counts_at_its_failed_at(
    connection: Connection,
) -> None:
    await insert_plainly(connection, status="failed", failed_at=at(minutes=-5))
    await insert_plainly(connection, status="completed", updated_at=at(minutes=-90))
    await insert_plainly(connection, status="failed", failed_at=at(minutes=-90))
    assert await connection.fetchval("SELECT calculate_error_rate('1 hour')") == 100
    assert await connection.fetchval("SELECT calculate_error_rate('2 hours')") == pytest.approx(
        200 / 3
    )


@pytest.mark.parametrize("rolled", [False, True])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/Los_Angeles"])
async def test_today_begins_at_midnight_in_the_zone(
    connection: Connection,
    zone: str,
    rolled: bool,  # noqa: FBT001
) -> None:
    midnight = await connection.fetchval(
        "SELECT date_trunc('day', now() AT TIME ZONE $1) AT TIME ZONE $1", zone
    )
    now = datetime.now(UTC)
    after = min(midnight + timedelta(seconds=1), now)
    for status, moment in [
        ("completed", midnight - timedelta(seconds=1)),
        ("failed", midnight - timedelta(seconds=1)),
        ("completed", after),
        ("completed", after),
        ("failed", after),
    ]:
        failed = {"failed_at": moment} if status == "failed" else {}
        await insert_plainly(connection, status=status, completed_at=moment, **failed)
    if rolled:
        await rolled_up(connection)
    found = await figures(connection, zone)
    assert (found["total_completed_today"], found["total_failed_today"]) == (2, 1)


async def test_what_is_written_into_a_rolled_up_minute_is_counted_again(
    connection: Connection,
) -> None:
    await ended(connection, "failed", 30)
    await rolled_up(connection)
    await ended(connection, "completed", 30)
    assert await connection.fetchval("SELECT calculate_error_rate()") == 50
    await rolled_up(connection)
    assert await connection.fetchval("SELECT count(*) FROM job_rollup_marks") == 0
    assert await connection.fetchval("SELECT calculate_error_rate()") == 50
    await connection.execute(
        "UPDATE analysis_jobs SET status = 'completed' WHERE status = 'failed'"
    )
    assert await connection.fetchval("SELECT calculate_error_rate()") == 0


async def test_a_requeued_job_counts_as_failed_no_more(connection: Connection) -> None:
    await ended(connection, "failed", 30)
    await ended(connection, "completed", 31)
    await rolled_up(connection)
    assert await connection.fetchval("SELECT calculate_error_rate()") == 50
    await connection.execute("SELECT requeue_job(id) FROM analysis_jobs WHERE status = 'failed'")
    assert await connection.fetchval("SELECT calculate_error_rate()") == 0
    await rolled_up(connection)
    assert await connection.fetchval("SELECT calculate_error_rate()") == 0


async def test_alerts_that_are_open_or_could_not_be_delivered_are_counted(
    connection: Connection,
) -> None:
    for fingerprint in ("a", "b", "c"):
        await connection.execute(
            "SELECT raise_alert($1, 'worker_down', 'critical', 'gone')", fingerprint
        )
    await connection.execute("SELECT resolve_alerts(ARRAY['c'])")
    await connection.execute(
        "INSERT INTO job_alert_deliveries (alert_id, channel, notice, status) "
        "SELECT id, channel, 'raised', 'undelivered' "
        "FROM job_alerts, unnest($1::text[]) AS channel WHERE fingerprint = 'a'",
        ["slack", "email"],
    )
    found = await figures(connection)
    assert (found["alerts_open"], found["alerts_undelivered"]) == (2, 1)


@pytest.mark.parametrize("future", ["2999-01-01", "infinity"])
async def test_a_job_that_finished_in_the_future_stops_no_counting(
    connection: Connection, future: str
) -> None:
    await insert_plainly(connection)
    await connection.execute(
        f"UPDATE analysis_jobs SET status = 'completed', completed_at = '{future}'"  # noqa: S608
    )
    await rolled_up(connection)
    await ended(connection, "failed", 1)
    assert (await figures(connection))["throughput_per_minute"] >= 1 / 5
    assert await connection.fetchval(
        "SELECT count(*) FROM schema_info WHERE rolled_up_until < now()"
    )


async def test_rolling_up_twice_changes_nothing(connection: Connection) -> None:
    for minutes in range(1, 60, 3):
        await ended(connection, "completed", minutes, duration_seconds=minutes)
    await rolled_up(connection)
    first = await connection.fetch("SELECT * FROM job_rollups ORDER BY 1, 2, 3")
    await connection.execute("UPDATE schema_info SET rolled_up_until = NULL")
    await rolled_up(connection)
    assert await connection.fetch("SELECT * FROM job_rollups ORDER BY 1, 2, 3") == first


async def test_small_steps_come_to_the_same_as_one(connection: Connection) -> None:
    for minutes in range(2, 90, 2):
        await ended(connection, "completed", minutes, duration_seconds=minutes)
        await ended(connection, "failed", minutes)
    await rolled_up(connection)
    whole = await connection.fetch("SELECT * FROM job_rollups ORDER BY 1, 2, 3")
    await connection.execute("UPDATE schema_info SET rolled_up_until = NULL")
    await connection.execute("TRUNCATE job_rollups")
    steps = 1
    while await connection.fetchval("SELECT roll_up_jobs(7)"):
        steps += 1
    assert steps > 5
    assert await connection.fetch("SELECT * FROM job_rollups ORDER BY 1, 2, 3") == whole


async def test_a_completion_under_way_is_waited_for(
    connection: Connection, store: JobStore, queue_db: str
) -> None:
    job = await make_running(store)
    async with connected(queue_db) as other:
        transaction = other.transaction()
        await transaction.start()
        began = await other.fetchval("SELECT now()")
        await store.complete([(job, Completed())], executor=other)
        await rolled_up(connection)
        until = await connection.fetchval("SELECT rolled_up_until FROM schema_info")
        assert until <= began
        await transaction.commit()
    assert (await figures(connection))["total_completed_today"] == 1


async def test_one_rolls_up_at_a_time(connection: Connection, queue_db: str) -> None:
    await ended(connection, "completed", 10)
    async with connected(queue_db) as other, other.transaction():
        await other.execute("SELECT 1 FROM schema_info FOR UPDATE")
        assert await connection.fetchval("SELECT roll_up_jobs()") is False
        assert await connection.fetchval("SELECT count(*) FROM job_rollups") == 0


async def test_trends_outlive_the_jobs(connection: Connection) -> None:
    created = at(minutes=-400)
    for seconds in range(1, 101):
        await insert_plainly(
            connection,
            status="completed",
            created_at=created,
            started_at=created + timedelta(seconds=seconds),
            completed_at=at(minutes=-200),
            duration_seconds=seconds / 10,
            retry_count=0,
        )
    await ended(connection, "failed", 200, retry_count=3, job_type="cleanup")
    await rolled_up(connection)
    await connection.execute("DELETE FROM analysis_jobs")
    rows = await connection.fetch("SELECT * FROM job_trends('24 hours', '1 hour')")
    by_type = {row["job_type"]: dict(row) for row in rows}
    assert set(by_type) == {"cleanup", "complete_analysis"}
    analysis, cleanup = by_type["complete_analysis"], by_type["cleanup"]
    assert (analysis["completed"], analysis["failed"], analysis["retried"]) == (100, 0, 0)
    assert (cleanup["completed"], cleanup["failed"], cleanup["retried"]) == (0, 1, 3)
    assert analysis["wait_p50"] == pytest.approx(50, rel=0.16)
    assert analysis["wait_p95"] == pytest.approx(95, rel=0.16)
    assert analysis["run_p50"] == pytest.approx(5, rel=0.16)
    assert analysis["run_p95"] == pytest.approx(9.5, rel=0.16)
    # Its wait was that of a later attempt, its run is not known.
    assert (cleanup["wait_p50"], cleanup["run_p50"]) == (None, None)
    assert analysis["bucket_at"].minute == 0


async def test_durations_beyond_all_bins_are_counted(connection: Connection) -> None:
    for seconds in (0.0, -5.0, 1e-9, 1e300, 1300000.0):
        assert 0 <= await connection.fetchval("SELECT duration_bin($1)", seconds) <= 80
    assert await connection.fetchval("SELECT duration_bin('NaN'::float8)") == 80
    assert await connection.fetchval("SELECT duration_bin(NULL)") is None


async def test_stuck_is_processing_for_longer_than_the_threshold(
    connection: Connection, store: JobStore
) -> None:
    user = uuid4()
    stuck = await make_running(store, user_id=user)
    quick = await make_running(store)
    await enqueue_one(store)
    await connection.execute(
        "UPDATE analysis_jobs SET started_at = now() - interval '45 minutes' WHERE id = $1",
        stuck.id,
    )
    await connection.execute(
        "UPDATE analysis_jobs SET started_at = now() - interval '29 minutes' WHERE id = $1",
        quick.id,
    )
    (row,) = await connection.fetch("SELECT * FROM detect_stuck_jobs()")
    assert list(row.keys()) == ["job_id", "started_at", "duration_minutes", "job_type", "user_id"]
    assert (row["job_id"], row["job_type"], row["user_id"]) == (stuck.id, "complete_analysis", user)
    assert row["duration_minutes"] == pytest.approx(45, abs=0.5)
    both = await connection.fetch("SELECT * FROM detect_stuck_jobs(threshold_minutes => 28)")
    assert [row["job_id"] for row in both] == [stuck.id, quick.id]
    assert (await figures(connection))["stuck_jobs"] == 1
    await store.complete([(stuck, Completed())])
    await expire_leases(connection, quick.id)
    assert await connection.fetch("SELECT * FROM detect_stuck_jobs()") == []


async def test_figures_cost_the_same_beside_many_finished_jobs(
    connection: Connection, pool: Pool
) -> None:
    async def cost() -> int:
        plan = await connection.fetchval(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT get_queue_metrics()"
        )
        plan = orjson.loads(plan)
        return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])

    fill = """
    INSERT INTO analysis_jobs (job_type, status, completed_at, failed_at, duration_seconds)
    SELECT 'cleanup', s.status, t.at, CASE WHEN s.status = 'failed' THEN t.at END, 2
    FROM generate_series(1, $1::integer) AS n
    CROSS JOIN LATERAL (SELECT now() - interval '3 minutes' - n * interval '0.5 s' AS at) AS t
    CROSS JOIN LATERAL (
        SELECT CASE n % 500 WHEN 0 THEN 'failed' ELSE 'completed' END AS status
    ) AS s
    """
    await connection.execute(fill, 500)
    await rolled_up(connection)
    await cost()
    few = await cost()
    await connection.execute(fill, 20_000)
    await rolled_up(connection)
    await connection.execute("VACUUM ANALYZE analysis_jobs, job_rollups, job_rollup_marks")
    await cost()
    assert await cost() < few + 1500
