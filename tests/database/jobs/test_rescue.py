import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.conftest import connected
from tests.support.factories import (
    LEASE,
    assert_invariant,
    claim,
    come_due,
    enqueue,
    everything,
    expire_leases,
    insert_project,
    job_row,
    make_job,
    make_running,
    queue_row,
    rescue,
)
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Connection, create_pool
from wastewise_jobs.jobs.model import RescuedAs, RescuedJob
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.jobs.store import JobStore


async def crash(store: JobStore, connection: Connection) -> RescuedJob:
    """The one job that waits is claimed by a worker that dies, and rescued."""
    (job,) = await claim(store)
    await expire_leases(connection, job.id)
    (rescued,) = await rescue(store)
    await come_due(connection, job.id)
    return rescued


async def test_only_jobs_whose_lease_has_expired_are_rescued(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(4)))
    lost, held = await claim(store, 2, worker_id="dead")
    await expire_leases(connection, lost.id)
    before = await job_row(connection, held.id)
    assert await rescue(store) == [
        RescuedJob(lost.id, "complete_analysis", "dead", crash_count=1, settled=RescuedAs.RESCUED)
    ]
    assert await rescue(store) == []
    assert await job_row(connection, held.id) == before
    await assert_invariant(connection)


async def test_a_lease_is_not_taken_at_the_first_sight_of_its_end(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await connection.execute("UPDATE job_queue SET lease_expires_at = now() - interval '1 minute'")
    assert await rescue(store) == []
    left = await connection.fetchval("SELECT lease_expires_at - now() FROM job_queue")
    assert timedelta(seconds=1) < left <= timedelta(seconds=2)
    # Nor does a second look at the same moment, or one of somebody else, take it.
    assert await rescue(store) == []
    await connection.execute("UPDATE job_queue SET lease_expires_at = now() - interval '1 ms'")
    assert [rescued.id for rescued in await rescue(store)] == [job.id]
    await assert_invariant(connection)


async def test_a_worker_that_is_alive_renews_its_lease_between_two_sights(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await connection.execute("UPDATE job_queue SET lease_expires_at = now() - interval '1 minute'")
    assert await rescue(store) == []
    assert await store.heartbeat([job], LEASE) == []
    row = await queue_row(connection, job.id)
    assert row is not None
    assert row["expired"] is False
    await connection.execute("UPDATE job_queue SET lease_expires_at = now() - interval '1 ms'")
    assert await rescue(store) == []


async def test_a_sight_of_before_an_outage_counts_as_none(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await expire_leases(connection, job.id)
    await connection.execute("UPDATE job_queue SET lease_expires_at = now() - interval '11 s'")
    assert await rescue(store) == []
    await expire_leases(connection, job.id)
    assert len(await rescue(store)) == 1


async def test_a_trigger_that_guards_one_job_stops_no_other_rescue(
    db: str,
) -> None:
    async with create_pool(db) as pool, connected(db) as connection:
        store = JobStore(pool)
        await enqueue(store, *(make_job() for _ in range(4)))
        jobs = await claim(store, 4)
        guarded = jobs[1]
        await connection.execute("""
            CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'not this one'; END $$
        """)
        await connection.execute(f"""
            CREATE TRIGGER guard BEFORE UPDATE ON analysis_jobs
            FOR EACH ROW WHEN (OLD.id = '{guarded.id}') EXECUTE FUNCTION guard()
        """)
        await expire_leases(connection, *(job.id for job in jobs))
        rescued = await rescue(store)
        assert sorted(r.id for r in rescued) == sorted({job.id for job in jobs} - {guarded.id})
        # It is tried again now and then, not at every look.
        assert await rescue(store) == []
        await connection.execute("DROP TRIGGER guard ON analysis_jobs")
        await expire_leases(connection, guarded.id)
        assert [r.id for r in await rescue(store)] == [guarded.id]
        await assert_invariant(connection)


async def test_a_rescued_job_comes_back_within_seconds_and_is_charged_no_retry(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await expire_leases(connection, job.id)
    await rescue(store)
    row = await job_row(connection, job.id)
    assert (row["status"], row["retry_count"], row["crash_count"]) == ("pending", 0, 1)
    assert (row["worker_id"], row["claimed_at"]) == (None, None)
    delay = row["retry_after"] - row["updated_at"]
    assert timedelta(0) <= delay <= timedelta(seconds=2)
    (entry,) = row["retry_error_log"]
    assert (entry["attempt"], entry["crash"], entry["error_code"]) == (1, 1, "CRASHED_WORKER")
    assert entry["worker_id"] == "w1"
    await come_due(connection, job.id)
    (again,) = await claim(store, worker_id="w2")
    assert (again.id, again.attempt, again.crash_count) == (job.id, 1, 1)


async def test_the_jobs_of_one_dead_worker_do_not_come_back_in_one_burst(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(40)))
    jobs = await claim(store, 40)
    await expire_leases(connection, *(job.id for job in jobs))
    await rescue(store)
    waits = await connection.fetch("SELECT DISTINCT retry_after FROM analysis_jobs")
    assert len(waits) == 40


async def test_after_three_crashes_a_job_is_quarantined_with_its_evidence(
    store: JobStore, connection: Connection
) -> None:
    project = await insert_project(connection, uuid4(), status="processing")
    await enqueue(store, make_job(project_id=project, input_json='{"kept": 1}'))
    settled = [await crash(store, connection) for _ in range(3)]
    assert [(r.crash_count, r.settled) for r in settled] == [
        (1, "rescued"),
        (2, "rescued"),
        (3, "failed"),
    ]
    row = await job_row(connection, settled[0].id)
    assert (row["status"], row["error_code"]) == ("failed", "CRASHED_WORKER")
    assert (row["worker_id"], row["retry_count"]) == ("w1", 0)
    assert row["failed_at"] == row["completed_at"] is not None
    assert row["input_data"] == {"kept": 1}
    assert [entry["crash"] for entry in row["retry_error_log"]] == [1, 2, 3]
    said = await connection.fetchrow("SELECT status, error_message FROM projects")
    assert said is not None
    assert said["status"] == "failed"
    assert "3 times" in said["error_message"]
    assert await claim(store) == []
    await assert_invariant(connection)


async def test_a_job_that_is_to_be_cancelled_is_cancelled_and_not_run_again(
    store: JobStore, connection: Connection
) -> None:
    project = await insert_project(connection, uuid4(), status="processing")
    job = await make_running(store, project_id=project)
    await store.cancel(job.id, user_id=None)
    await expire_leases(connection, job.id)
    assert [r.settled for r in await rescue(store)] == ["cancelled"]
    assert (await job_row(connection, job.id))["status"] == "cancelled"
    assert await connection.fetchval("SELECT status FROM projects") == "cancelled"
    assert await claim(store) == []
    await assert_invariant(connection)


async def test_many_rescuers_at_once_rescue_every_job_once(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(60)))
    jobs = await claim(store, 60)
    await expire_leases(connection, *(job.id for job in jobs))
    found = await asyncio.gather(*(rescue(store, 25) for _ in range(8)))
    # Whoever saw rows that another one held left them; nobody waits for anybody.
    found += [await rescue(store, 100)]
    ids = [rescued.id for batch in found for rescued in batch]
    assert sorted(ids) == sorted(job.id for job in jobs)
    counts = await connection.fetch("SELECT DISTINCT crash_count FROM analysis_jobs")
    assert [row[0] for row in counts] == [1]
    await assert_invariant(connection)


async def test_a_lease_that_is_renewed_while_a_rescue_looks_is_left(
    queue_db: str, store: JobStore, connection: Connection
) -> None:
    """The rescue has read the expired lease and waits, so to say, between its two looks."""
    renewed = await make_running(store)
    lost = await make_running(store)
    await expire_leases(connection, renewed.id, lost.id)
    async with connected(queue_db) as rescuer, connected(queue_db) as gate:
        await gate.execute("BEGIN; LOCK TABLE analysis_jobs IN ACCESS EXCLUSIVE MODE")
        rescue = asyncio.create_task(rescuer.fetch("SELECT id FROM rescue_jobs(10)"))
        try:
            await eventually(lambda: _waits(connection, rescuer.get_server_pid()))
            await connection.execute(
                "UPDATE job_queue SET lease_expires_at = now() + interval '30 s' WHERE id = $1",
                renewed.id,
            )
        finally:
            await gate.execute("COMMIT")
        assert [row["id"] for row in await rescue] == [lost.id]
    assert (await job_row(connection, renewed.id))["crash_count"] == 0
    assert await store.complete([(renewed, Completed())]) == {renewed.id}


async def test_a_job_that_was_settled_and_claimed_again_while_a_rescue_looked_is_left(
    queue_db: str, store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await expire_leases(connection, job.id)
    async with connected(queue_db) as rescuer:
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetch("SELECT release_jobs($1, $2)", [job.id], [job.fence])
        # The rescue does not wait for it, and does not take it either.
        assert await rescuer.fetch("SELECT id FROM rescue_jobs(10)") == []
        await transaction.commit()
    (again,) = await claim(store, worker_id="w2")
    assert await rescue(store) == []
    assert (await job_row(connection, again.id))["worker_id"] == "w2"


async def test_a_heartbeat_at_the_last_moment_keeps_the_job(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await expire_leases(connection, job.id)
    assert await store.heartbeat([job], LEASE) == []
    assert await rescue(store) == []


async def test_a_worker_that_nobody_registered_is_rescued_from_all_the_same(
    store: JobStore, connection: Connection
) -> None:
    assert await connection.fetchval("SELECT count(*) FROM job_workers") == 0
    job = await make_running(store)
    await expire_leases(connection, job.id)
    await connection.execute(
        "INSERT INTO job_workers (worker_id, name, host, pid, version, queues, job_types, "
        "concurrency) VALUES ('w1', 'w', 'h', 1, '1', '{}', '{}', 1)"
    )
    assert [r.id for r in await rescue(store)] == [job.id]


@pytest.mark.parametrize("held", ["analysis_jobs", "job_queue", "projects"])
async def test_rows_that_somebody_holds_stop_no_rescue(
    store: JobStore, connection: Connection, held: str
) -> None:
    user = uuid4()
    projects = [await insert_project(connection, user, status="processing") for _ in range(4)]
    await enqueue(store, *(make_job(project_id=project) for project in projects))
    jobs = await claim(store, 4)
    await connection.execute("UPDATE analysis_jobs SET crash_count = 2")
    await expire_leases(connection, *(job.id for job in jobs))
    first = sorted(job.id for job in jobs)[:2]
    async with connection.transaction():
        ids = [job.project_id if held == "projects" else job.id for job in jobs if job.id in first]
        await connection.fetch(f"SELECT 1 FROM {held} WHERE id = ANY ($1) FOR UPDATE", ids)  # noqa: S608
        # A page of one: a full page of held rows does not hide the ones behind it.
        found = [
            r.id for _ in range(3) for r in await asyncio.wait_for(rescue(store, 1), timeout=5)
        ]
        assert sorted(found) == sorted(job.id for job in jobs)[2:]
    assert sorted(r.id for r in await rescue(store)) == first
    await assert_invariant(connection)


async def test_a_rescue_takes_no_more_than_it_is_told_to(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(5)))
    jobs = await claim(store, 5)
    await expire_leases(connection, *(job.id for job in jobs))
    assert [len(await rescue(store, 2)) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_rescue_that_is_rolled_back_has_done_nothing(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await expire_leases(connection, job.id)
    before = await everything(connection)
    transaction = connection.transaction()
    await transaction.start()
    assert await connection.fetch("SELECT * FROM rescue_jobs(10)")
    await transaction.rollback()
    assert await everything(connection) == before
    assert len(await rescue(store)) == 1
    assert await queue_row(connection, job.id)


async def test_a_finished_job_is_not_brought_back_by_a_queue_row_that_was_left_behind(
    store: JobStore, connection: Connection
) -> None:
    """As after a restore without triggers; mending the queue is the repair's work."""
    job = await make_running(store)
    await expire_leases(connection, job.id)
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("UPDATE analysis_jobs SET status = 'completed'")
    before = await everything(connection)
    assert await rescue(store) == []
    assert await everything(connection) == before
    assert await connection.fetchval("SELECT repair_job_queue()") == 1
    await assert_invariant(connection)


async def _waits(connection: Connection, pid: int) -> bool:
    found: bool = await connection.fetchval(
        "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1", pid
    )
    return found
