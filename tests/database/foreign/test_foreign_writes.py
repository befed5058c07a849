"""Writes of others: the existing front end, a person at psql, a cascade, a restore."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from tests.conftest import connected
from tests.support.factories import (
    LEASE,
    assert_invariant,
    at,
    claim,
    enqueue,
    enqueue_one,
    insert_plainly,
    insert_project,
    job_row,
    make_job,
    make_running,
    queue_row,
    rescue,
)
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.jobs.model import JobTypeInfo
from wastewise_jobs.jobs.outcome import Completed, Failed, RetryLater
from wastewise_jobs.jobs.store import JobStore, LeaseNews
from wastewise_jobs.jobs.types import JobTypeStore

Heard = list[tuple[str, str]]


@pytest.fixture
async def heard(queue_db: str) -> AsyncIterator[Heard]:
    """What a listener was told, in order."""
    found: Heard = []
    async with connected(queue_db) as listener:
        for topic in ("wastewise_wake", "wastewise_cancel"):
            await listener.add_listener(
                topic, lambda _c, _p, t, words: found.append((t, str(words)))
            )
        yield found


async def everything_heard(connection: Connection, heard: Heard) -> Heard:
    """A last word of our own comes after whatever was said before."""
    await connection.execute("SELECT pg_notify('wastewise_wake', 'the end')")
    await eventually(lambda: ("wastewise_wake", "the end") in heard)
    return heard[:-1]


async def test_a_plain_insert_keeps_its_priority_and_takes_the_rest_from_the_type(
    store: JobStore, pool: Pool, connection: Connection
) -> None:
    info = JobTypeInfo("resize", queue="images", priority=8, timeout_seconds=12.5)
    await JobTypeStore(pool).register([info])
    job_id = await insert_plainly(connection, job_type="resize", priority=2, user_id=uuid4())
    row = await job_row(connection, job_id)
    assert (row["priority"], row["queue"], row["timeout_seconds"]) == (2, "images", 12.5)
    await assert_invariant(connection)
    (job,) = await claim(store, queues=["images"], job_types=["resize"])
    assert (job.id, job.fence, job.priority, job.timeout_seconds) == (job_id, 1, 2, 12.5)
    assert await store.complete([(job, Completed())]) == {job_id}


async def test_a_plain_insert_says_only_what_it_wants_to(
    store: JobStore, connection: Connection
) -> None:
    job_id = await insert_plainly(connection)
    row = await job_row(connection, job_id)
    assert (row["priority"], row["queue"], row["timeout_seconds"]) == (5, "default", 600)
    assert [job.id for job in await claim(store)] == [job_id]


async def test_nulls_of_a_plain_insert_are_as_good_as_silence(
    store: JobStore, connection: Connection
) -> None:
    columns = (
        "priority", "queue", "timeout_seconds", "retry_count", "max_retries", "retry_error_log",
        "created_at", "updated_at", "input_data", "progress_percent", "steps_completed",
    )  # fmt: skip
    job_id = await insert_plainly(
        connection, job_type="report_generation", **dict.fromkeys(columns)
    )
    row = await job_row(connection, job_id)
    assert (row["priority"], row["max_retries"], row["input_data"]) == (7, 3, {})
    assert [column for column in columns if row[column] is None] == []
    assert [job.id for job in await claim(store)] == [job_id]


async def test_rows_may_be_inserted_in_any_status_and_by_the_hundred(
    store: JobStore, connection: Connection
) -> None:
    await connection.execute(
        """
        INSERT INTO analysis_jobs (job_type, status, retry_after)
        SELECT 'complete_analysis', s, CASE WHEN n % 2 = 0 THEN now() + interval '1 hour' END
        FROM unnest(ARRAY['pending', 'processing', 'completed', 'failed', 'cancelled']) AS s,
             generate_series(1, 40) AS n
        """
    )
    await assert_invariant(connection)
    assert await connection.fetchval("SELECT count(*) FROM job_queue") == 80
    assert len(await claim(store, 100)) == 20


async def test_a_job_that_somebody_inserts_as_processing_has_the_lease_of_the_stuck_threshold(
    store: JobStore, connection: Connection
) -> None:
    job_id = await insert_plainly(connection, status="processing", worker_id="front end")
    queued = await queue_row(connection, job_id)
    created_at = (await job_row(connection, job_id))["created_at"]
    assert queued is not None
    assert (queued["lease_expires_at"] - created_at).total_seconds() == 30 * 60
    assert await rescue(store) == []


async def test_copy_is_followed_like_any_insert(store: JobStore, connection: Connection) -> None:
    await connection.copy_records_to_table(
        "analysis_jobs",
        columns=["id", "job_type", "status"],
        records=[(uuid4(), "cleanup", status) for status in ("pending", "pending", "failed")],
    )
    await assert_invariant(connection)
    assert len(await claim(store, 9)) == 2


@pytest.mark.parametrize(
    "change",
    [
        "priority = 1",
        "retry_after = now() + interval '1 hour'",
        "retry_after = now() - interval '1 hour'",
        "queue = 'reports'",
        "job_type = 'report_generation'",
        "created_at = now() - interval '1 day'",
        "id = gen_random_uuid()",
        "status = 'processing'",
        "status = 'completed'",
        "status = 'cancelled', priority = 9",
        "fence = fence + 7",
        "current_step = 'nothing that the queue knows'",
        "status = 'pending', queue = 'reports', priority = 2, retry_after = now()",
    ],
)
@pytest.mark.parametrize("before", ["pending", "waiting", "processing", "completed", "failed"])
async def test_the_queue_follows_a_plain_update(
    store: JobStore, connection: Connection, change: str, before: str
) -> None:
    job = await make_running(store)
    match before:
        case "pending":
            await store.release([job])
        case "waiting":
            await store.retry([(job, RetryLater("X", "x", "retryable"))])
        case "completed":
            await store.complete([(job, Completed())])
        case "failed":
            await store.fail([(job, Failed("X", "x", "permanent"))])
        case _:
            pass
    await connection.execute(f"UPDATE analysis_jobs SET {change}")  # noqa: S608
    await assert_invariant(connection)
    assert await connection.fetchval("SELECT repair_job_queue()") == 0
    assert await connection.fetchval("SELECT fence FROM analysis_jobs") >= job.fence


async def test_a_plain_change_of_status_is_an_operators_act_under_a_new_fence(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await connection.execute("UPDATE analysis_jobs SET status = 'failed'")
    row = await job_row(connection, job.id)
    assert (row["fence"], row["completed_at"] is not None) == (job.fence + 1, True)
    await connection.execute("UPDATE analysis_jobs SET status = 'pending'")
    row = await job_row(connection, job.id)
    assert (row["fence"], row["completed_at"], row["worker_id"]) == (job.fence + 2, None, None)
    await connection.execute("UPDATE analysis_jobs SET status = 'pending', current_step = 'x'")
    assert (await job_row(connection, job.id))["fence"] == job.fence + 2


async def test_a_plain_change_of_anything_else_leaves_the_lease_alone(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    before = await queue_row(connection, job.id)
    await connection.execute("UPDATE analysis_jobs SET priority = 1, created_at = now()")
    after = await queue_row(connection, job.id)
    assert before is not None
    assert after is not None
    assert after["lease_expires_at"] == before["lease_expires_at"]
    assert after["deadline_at"] == before["deadline_at"]
    assert await store.complete([(job, Completed())]) == {job.id}


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM analysis_jobs",
        "DELETE FROM projects",
        "TRUNCATE analysis_jobs CASCADE",
        "TRUNCATE projects CASCADE",
    ],
)
async def test_the_queue_forgets_jobs_that_are_deleted(
    store: JobStore, connection: Connection, statement: str
) -> None:
    project = await insert_project(connection, uuid4())
    await enqueue(store, *(make_job(project_id=project) for _ in range(3)))
    (job,) = await claim(store)
    await connection.execute(statement)
    assert await connection.fetchval("SELECT count(*) FROM job_queue") == 0
    assert await claim(store) == []
    assert [beat.held for beat in await store.heartbeat([job], LEASE)] == [False]


async def test_an_upsert_is_followed_on_both_of_its_ways(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    upsert = (
        "INSERT INTO analysis_jobs (id, job_type) VALUES ($1, 'cleanup') "
        "ON CONFLICT (id) DO UPDATE SET status = 'pending', priority = 2"
    )
    await connection.execute(upsert, job.id)
    await connection.execute(upsert, uuid4())
    await assert_invariant(connection)
    assert await store.complete([(job, Completed())]) == set()
    assert [j.id for j in await claim(store)] == [job.id]


@pytest.mark.parametrize(
    "column",
    ["priority = 0", "priority = 11", "status = 'done'", "job_type = 'Not A Type'", "queue = ''"],
)
async def test_a_wrong_value_is_refused_and_nothing_changes(
    store: JobStore, connection: Connection, column: str
) -> None:
    await enqueue_one(store)
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(f"UPDATE analysis_jobs SET {column}")  # noqa: S608
    await assert_invariant(connection)


@pytest.mark.parametrize(
    ("job_type", "queue", "constraint"),
    [
        ("Not A Type", "default", "analysis_jobs_job_type_check"),
        ("", "default", "analysis_jobs_job_type_check"),
        ("cleanup", "No Queue", "analysis_jobs_queue_check"),
        ("cleanup", "q" * 64, "analysis_jobs_queue_check"),
    ],
)
async def test_a_bad_name_is_refused_where_it_is_inserted(
    connection: Connection, job_type: str, queue: str, constraint: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await connection.execute(
            "INSERT INTO analysis_jobs (job_type, queue) VALUES ($1, $2)", job_type, queue
        )
    assert refusal.value.constraint_name == constraint


async def test_a_foreign_write_wakes_workers_once_a_transaction_and_queue(
    store: JobStore, connection: Connection, heard: Heard
) -> None:
    del store
    await connection.execute(
        "INSERT INTO analysis_jobs (job_type, queue) SELECT 'cleanup', "
        "CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 500) AS n"
    )
    await connection.execute("UPDATE analysis_jobs SET priority = 1 WHERE queue = 'a'")
    await connection.execute("UPDATE analysis_jobs SET status = 'cancelled'")
    await connection.execute("DELETE FROM analysis_jobs")
    words = [word for _, word in await everything_heard(connection, heard)]
    assert [sorted(words[:2]), words[2:]] == [["a", "b"], ["a"]]


async def test_a_worker_is_told_of_the_job_that_a_foreign_write_takes_from_it(
    store: JobStore, connection: Connection, heard: Heard
) -> None:
    updated, deleted, cancelled, untouched = [await make_running(store) for _ in range(4)]
    await connection.execute(
        "UPDATE analysis_jobs SET status = 'cancelled' WHERE id = $1", updated.id
    )
    await connection.execute("DELETE FROM analysis_jobs WHERE id = $1", deleted.id)
    await connection.execute(
        "UPDATE analysis_jobs SET cancel_requested_at = now() WHERE id = $1", cancelled.id
    )
    assert await everything_heard(connection, heard) == [
        ("wastewise_cancel", str(updated.id)),
        ("wastewise_cancel", str(deleted.id)),
        ("wastewise_cancel", str(cancelled.id)),
    ]
    assert await store.complete([(untouched, Completed())]) == {untouched.id}


async def test_a_plain_update_that_takes_nothing_away_leaves_a_running_job_alone(
    store: JobStore, connection: Connection, heard: Heard
) -> None:
    job = await make_running(store)
    for change in (
        "priority = 1",
        "queue = 'other'",
        "created_at = created_at - interval '1 day'",
        "retry_after = now() + interval '1 hour'",
    ):
        await connection.execute(f"UPDATE analysis_jobs SET {change} WHERE id = $1", job.id)  # noqa: S608 - the test's own words
        await assert_invariant(connection)
    assert await everything_heard(connection, heard) == []
    assert await store.heartbeat([job], LEASE) == []
    assert await store.complete([(job, Completed())]) == {job.id}


async def test_a_heartbeat_names_the_lease_that_it_could_not_renew(
    store: JobStore, connection: Connection, queue_db: str
) -> None:
    held, other = [await make_running(store) for _ in range(2)]
    async with connected(queue_db) as front_end:
        transaction = front_end.transaction()
        await transaction.start()
        await front_end.execute("UPDATE analysis_jobs SET priority = 1 WHERE id = $1", held.id)
        not_renewed = LeaseNews(held.id, held=True, cancel_requested=False)
        assert await store.heartbeat([held, other], LEASE) == [not_renewed]
        await transaction.commit()
    assert await store.heartbeat([held, other], LEASE) == []
    # Past its deadline nothing is renewed, and it is of no use to try again.
    await connection.execute("UPDATE job_queue SET deadline_at = now() WHERE id = $1", held.id)
    assert await store.heartbeat([held, other], LEASE) == []


async def test_what_is_due_again_by_a_release_or_a_requeue_wakes_other_workers(
    store: JobStore, connection: Connection, heard: Heard
) -> None:
    released, failed = [await make_running(store) for _ in range(2)]
    await store.release([released])
    await store.fail([(failed, Failed("X", "x", "permanent"))])
    await store.requeue(failed.id, user_id=None)
    assert await everything_heard(connection, heard) == [("wastewise_wake", "default")] * 2


async def test_our_other_transitions_wake_nobody(
    store: JobStore, connection: Connection, heard: Heard
) -> None:
    await enqueue(store, *(make_job() for _ in range(4)))
    jobs = await claim(store, 4)
    await store.retry([(jobs[0], RetryLater("X", "x", "retryable"))])
    await store.fail([(jobs[1], Failed("X", "x", "permanent"))])
    await store.complete([(jobs[2], Completed())])
    await store.cancel((await enqueue_one(store)), user_id=None)
    await enqueue_one(store, run_at=at(minutes=1))
    await connection.execute(
        "UPDATE job_queue SET lease_expires_at = now(), expired = true WHERE leased"
    )
    await rescue(store)
    await store.prune(LEASE * 0, 100)
    assert await everything_heard(connection, heard) == []


async def test_a_request_to_cancel_a_running_job_is_heard(
    store: JobStore, connection: Connection, heard: Heard
) -> None:
    job = await make_running(store)
    await store.cancel(job.id, user_id=None)
    assert await everything_heard(connection, heard) == [("wastewise_cancel", str(job.id))]
