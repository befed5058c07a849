"""An alert's life in SQL: raised once for each cause, acknowledged, snoozed, resolved."""

import asyncio
import re
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.conftest import connected
from tests.support.factories import (
    claim,
    enqueue,
    enqueue_one,
    expire_leases,
    insert_plainly,
    insert_project,
    make_job,
    make_running,
    rescue,
)
from wastewise_jobs.alert_names import AlertType
from wastewise_jobs.alerts.model import DEFAULT_ROUTES
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.jobs.model import ClaimedJob
from wastewise_jobs.jobs.outcome import Completed, Failed
from wastewise_jobs.jobs.store import JobStore


def failed(message: str = "no luck", code: str = "BAD_FILE") -> Failed:
    return Failed(code, message, "permanent")


async def alerts(connection: Connection, **wanted: Any) -> list[dict[str, Any]]:
    rows = await connection.fetch("SELECT * FROM job_alerts ORDER BY created_at, id")
    found = [dict(row) for row in rows]
    return [a for a in found if all(a[name] == value for name, value in wanted.items())]


async def the_alert(connection: Connection) -> dict[str, Any]:
    (alert,) = await alerts(connection)
    return alert


async def events(connection: Connection, alert_id: UUID) -> list[str]:
    rows = await connection.fetch(
        "SELECT event FROM job_alert_history WHERE alert_id = $1 ORDER BY created_at", alert_id
    )
    return [row["event"] for row in rows]


async def raise_one(connection: Connection, severity: str = "warning", seen: int = 1) -> UUID:
    alert_id: UUID = await connection.fetchval(
        "SELECT raise_alert('worker_down:w1', 'worker_down', $1, 'w1 is silent', '{}', NULL, $2)",
        severity,
        seen,
    )
    return alert_id


async def test_the_types_that_python_names_are_those_that_a_row_may_have(
    connection: Connection,
) -> None:
    allowed = await connection.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conname = 'job_alerts_alert_type_check'"
    )
    assert set(re.findall(r"'(\w+)'", allowed)) == set(AlertType) == set(DEFAULT_ROUTES)


async def fail(store: JobStore, *jobs: ClaimedJob, message: str = "no luck") -> None:
    assert await store.fail([(job, failed(message)) for job in jobs]) == {job.id for job in jobs}


async def test_a_job_that_fails_has_its_alert_in_the_same_transaction(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store, user_id=uuid4())
    await fail(store, job, message="the file ends in the middle of row 12")
    alert = await the_alert(connection)
    assert (alert["alert_type"], alert["severity"], alert["occurrences"]) == (
        "job_failed",
        "error",
        1,
    )
    assert alert["job_id"] == job.id
    assert alert["message"] == "complete_analysis failed: the file ends in the middle of row 12"
    assert alert["details"]["error_code"] == "BAD_FILE"
    assert alert["tell_after"] == alert["created_at"]
    assert await events(connection, alert["id"]) == ["raised"]


async def test_one_cause_is_one_alert_and_another_error_is_another(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(6)))
    jobs = await claim(store, 6)
    for number, job in enumerate(jobs[:3]):
        await fail(store, job, message=f"row {number} of '{uuid4()}.csv' ({uuid4()}) is no number")
    await fail(store, *jobs[3:5], message="row 9 is no number")
    await fail(store, jobs[5], message="another thing")
    first, second, third = await alerts(connection)
    assert [first["occurrences"], second["occurrences"], third["occurrences"]] == [3, 2, 1]
    counted = await connection.fetchval(
        "SELECT count(*) FROM job_alert_jobs WHERE alert_id = $1", first["id"]
    )
    assert counted == 3


async def test_ten_thousand_failures_of_a_plain_update_are_one_alert_that_counts_them(
    connection: Connection,
) -> None:
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "INSERT INTO analysis_jobs (job_type, status, queue, priority, max_retries) "
            "SELECT 'cleanup', 'pending', 'default', 5, 3 FROM generate_series(1, 10000)"
        )
    await connection.execute(
        "UPDATE analysis_jobs SET status = 'failed', error_message = 'by hand', failed_at = now()"
    )
    alert = await the_alert(connection)
    assert (alert["occurrences"], alert["message"]) == (10000, "cleanup failed: by hand")
    assert await events(connection, alert["id"]) == ["raised"]
    assert await connection.fetchval("SELECT count(*) FROM job_alert_jobs") == 10000
    assert await connection.fetchval("SELECT count(*) FROM job_alert_failures") == 0


async def test_a_plain_update_that_fails_nothing_raises_nothing(connection: Connection) -> None:
    job_id = await insert_plainly(connection)
    await connection.execute("UPDATE analysis_jobs SET priority = 1 WHERE id = $1", job_id)
    await connection.execute("UPDATE analysis_jobs SET status = 'cancelled' WHERE id = $1", job_id)
    assert await alerts(connection) == []


async def test_the_third_crash_of_a_job_raises_an_alert(
    store: JobStore, connection: Connection
) -> None:
    job_id = await enqueue_one(store)
    await connection.execute("UPDATE analysis_jobs SET crash_count = 2 WHERE id = $1", job_id)
    await claim(store)
    await expire_leases(connection, job_id)
    assert [rescue.settled for rescue in await rescue(store)] == ["failed"]
    alert = await the_alert(connection)
    assert (alert["job_id"], alert["details"]["error_code"]) == (job_id, "CRASHED_WORKER")
    assert alert["details"]["worker_id"] == "w1"


async def test_jobs_that_complete_are_cancelled_or_retried_raise_nothing(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, make_job(), make_job())
    done, gone = await claim(store, 2)
    assert await store.complete([(done, Completed("1"))]) == {done.id}
    assert await store.cancel(gone.id, user_id=None) == "requested"
    assert await store.fail([(gone, failed())]) == {gone.id}
    assert await alerts(connection) == []


async def test_beyond_fifty_causes_of_one_job_type_the_others_share_an_alert(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(53)))
    for letters, job in enumerate(await claim(store, 53)):
        name = chr(ord("a") + letters // 26) + chr(ord("a") + letters % 26)
        await fail(store, job, message=f"cause {name}")
    found = await alerts(connection)
    assert len(found) == 51
    (others,) = [a for a in found if a["fingerprint"].endswith(":others")]
    assert others["occurrences"] == 3


async def test_batches_that_fail_the_same_causes_at_once_do_not_deadlock(
    store: JobStore, pool: Pool, connection: Connection
) -> None:
    del pool
    await enqueue(store, *(make_job() for _ in range(80)))
    jobs = await claim(store, 80)
    batches = [jobs[start : start + 10] for start in range(0, 80, 10)]

    async def fail_batch(number: int, batch: list[ClaimedJob]) -> None:
        order = batch if number % 2 else batch[::-1]
        named = [(job, failed(f"cause {'abcde'[i % 5]}")) for i, job in enumerate(order)]
        assert len(await store.fail(named)) == 10

    await asyncio.gather(*(fail_batch(n, batch) for n, batch in enumerate(batches)))
    assert [a["occurrences"] for a in await alerts(connection)] == [16] * 5


async def test_it_resolves_when_every_job_it_counts_was_requeued_and_completed_or_discarded(
    store: JobStore, connection: Connection
) -> None:
    project = await insert_project(connection, uuid4())
    jobs = [make_job(), make_job(), make_job(project_id=project)]
    await enqueue(store, *jobs)
    first, second, third = await claim(store, 3)
    await fail(store, first, second, third)

    async def settled() -> bool:
        return bool(await connection.fetchval("SELECT resolve_failed_alerts()"))

    assert await connection.fetchval("SELECT requeue_job($1)", first.id) == "requeued"
    assert not await settled()
    (again,) = await claim(store)
    await fail(store, again)
    assert (await the_alert(connection))["occurrences"] == 4
    assert await connection.fetchval("SELECT schedule_job_retry($1, 'once more')", first.id)
    await connection.execute("UPDATE analysis_jobs SET retry_after = NULL WHERE id = $1", first.id)
    (again,) = await claim(store)
    await store.complete([(again, Completed("1"))])
    assert not await settled()
    await connection.execute(
        "UPDATE analysis_jobs SET status = 'cancelled' WHERE id = $1", second.id
    )
    assert not await settled()
    await connection.execute("DELETE FROM projects WHERE id = $1", project)
    assert await settled()
    alert = await the_alert(connection)
    assert alert["resolved_at"] is not None
    assert alert["tell_after"] is None
    assert await events(connection, alert["id"]) == ["raised", "resolved"]


async def test_a_cause_that_comes_back_is_a_new_alert(connection: Connection) -> None:
    first = await raise_one(connection)
    assert await raise_one(connection, seen=0) == first
    assert await connection.fetchval("SELECT resolve_alerts(ARRAY['worker_down:w1', 'x'])") == 1
    assert await connection.fetchval("SELECT resolve_alerts(ARRAY['worker_down:w1', 'x'])") == 0
    assert await raise_one(connection) != first
    assert [a["occurrences"] for a in await alerts(connection)] == [1, 1]


async def test_many_who_see_one_cause_at_once_raise_one_alert(
    pool: Pool, connection: Connection
) -> None:
    async def see() -> UUID:
        async with pool.acquire() as one:
            return await raise_one(one)

    seen = await asyncio.gather(*(see() for _ in range(16)))
    assert len(set(seen)) == 1
    assert (await the_alert(connection))["occurrences"] == 16


@pytest.mark.parametrize(
    ("severity", "seen", "quiet"),
    [("warning", 90, False), ("warning", 89, True), ("warning", 0, True), ("critical", 0, False)],
)
async def test_an_acknowledged_alert_stays_quiet_until_it_is_worse_or_ten_times_as_many(
    connection: Connection, severity: str, seen: int, *, quiet: bool
) -> None:
    alert_id = await raise_one(connection, seen=10)
    person = uuid4()
    answer = await connection.fetchval(
        "SELECT acknowledge_alert($1, $2, 'a test', 'on it')", alert_id, person
    )
    assert answer == "acknowledged"
    alert = await the_alert(connection)
    assert (alert["acknowledged_by"], alert["acknowledged_note"]) == (person, "on it")
    assert alert["tell_after"] is None
    await raise_one(connection, severity, seen)
    alert = await the_alert(connection)
    assert (alert["tell_after"] is None) is quiet
    assert (alert["acknowledged_at"] is not None) is quiet
    kept = ["raised", "acknowledged"]
    assert await events(connection, alert_id) == (kept if quiet else [*kept, "reopened"])


async def test_a_snoozed_alert_is_told_again_when_its_time_is_up(connection: Connection) -> None:
    alert_id = await raise_one(connection)
    answer = await connection.fetchval(
        "SELECT snooze_alert($1, now() + interval '1 hour', 'a test')", alert_id
    )
    assert answer == "snoozed"
    await raise_one(connection, "critical")
    alert = await the_alert(connection)
    assert alert["tell_after"] == alert["snoozed_until"] > alert["last_seen_at"]


async def test_what_is_resolved_or_missing_changes_no_more(connection: Connection) -> None:
    alert_id = await raise_one(connection)
    assert await connection.fetchval("SELECT resolve_alert($1, 'a test')", alert_id) == "resolved"
    before = await alerts(connection)
    for statement, answer in (
        ("SELECT acknowledge_alert($1, NULL, 'late')", "resolved"),
        ("SELECT snooze_alert($1, now(), 'late')", "resolved"),
        ("SELECT resolve_alert($1, 'late')", "resolved"),
    ):
        assert await connection.fetchval(statement, alert_id) == answer
        assert await connection.fetchval(statement, uuid4()) is None
    assert await alerts(connection) == before
    assert await events(connection, alert_id) == ["raised", "resolved"]


async def test_a_failure_that_waits_for_a_resolving_alert_raises_another(
    queue_db: str, store: JobStore, connection: Connection
) -> None:
    await enqueue(store, make_job(), make_job())
    first, second = await claim(store, 2)
    await fail(store, first)
    await connection.execute("UPDATE job_alert_jobs SET settled = true")
    async with connected(queue_db) as resolver, resolver.transaction():
        assert await resolver.fetchval("SELECT resolve_failed_alerts()") == 1
        waiting = asyncio.create_task(
            connection.execute(
                "UPDATE analysis_jobs SET status = 'failed', error_code = 'BAD_FILE', "
                "error_message = 'no luck' WHERE id = $1",
                second.id,
            )
        )
        await asyncio.wait([waiting], timeout=0.05)
        assert not waiting.done()
    await waiting
    old, new = await alerts(connection)
    assert (old["resolved_at"] is None, new["resolved_at"] is None) == (False, True)
    assert new["occurrences"] == 1
