from collections.abc import AsyncIterator

import orjson
import pytest

from tests.conftest import connected
from tests.support.factories import (
    LEASE,
    assert_invariant,
    at,
    claim,
    enqueue,
    everything,
    make_job,
)
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.jobs.store import JobStore

# What a partial restore, a logical replica or a person with triggers off may leave behind.
DAMAGE = {
    "a pending job without its row": "DELETE FROM job_queue WHERE due",
    "a running job without its row": "DELETE FROM job_queue WHERE leased",
    "no queue at all": "DELETE FROM job_queue",
    "rows of jobs that are gone": "DELETE FROM analysis_jobs WHERE status = 'pending'",
    "rows of jobs that finished": "UPDATE analysis_jobs SET status = 'completed'",
    "a running job that is pending": "UPDATE analysis_jobs SET status = 'pending'",
    "a pending job that runs": "UPDATE analysis_jobs SET status = 'processing'",
    "another priority": "UPDATE analysis_jobs SET priority = 10",
    "another queue": "UPDATE analysis_jobs SET queue = 'elsewhere'",
    "another type": "UPDATE job_queue SET job_type = 'elsewhere'",
    "another fence": "UPDATE analysis_jobs SET fence = fence + 5",
    "another age": "UPDATE job_queue SET created_at = now() - interval '1 day'",
    "due too early": "UPDATE analysis_jobs SET retry_after = now() + interval '1 day' "
    "WHERE status = 'pending'",
    "due too late": "UPDATE analysis_jobs SET retry_after = NULL",
    "new jobs": "INSERT INTO analysis_jobs (job_type, queue, priority, max_retries) "
    "SELECT 'cleanup', 'default', 5, 3 FROM generate_series(1, 5)",
}


@pytest.fixture
async def unwatched(queue_db: str) -> AsyncIterator[Connection]:
    """A connection whose writes no trigger sees."""
    async with connected(queue_db) as connection:
        await connection.execute("SET session_replication_role = replica")
        yield connection


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_the_queue_is_made_to_say_what_the_jobs_say(
    store: JobStore, connection: Connection, unwatched: Connection, damage: str
) -> None:
    await enqueue(store, *(make_job() for _ in range(6)), make_job(run_at=at(minutes=5)))
    jobs = await claim(store, 3)
    await store.complete([(jobs[0], Completed())])
    await unwatched.execute(damage)
    with pytest.raises(AssertionError):
        await assert_invariant(connection)
    jobs_before = await connection.fetch("SELECT * FROM analysis_jobs ORDER BY id")
    assert await connection.fetchval("SELECT repair_job_queue()") > 0
    await assert_invariant(connection)
    assert await connection.fetch("SELECT * FROM analysis_jobs ORDER BY id") == jobs_before
    repaired = await everything(connection)
    assert await connection.fetchval("SELECT repair_job_queue()") == 0
    assert await everything(connection) == repaired


async def test_a_sound_queue_is_left_alone_and_leases_are_kept(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(6)), make_job(run_at=at(minutes=5)))
    jobs = await claim(store, 3)
    before = await everything(connection)
    assert await connection.fetchval("SELECT repair_job_queue()") == 0
    assert await everything(connection) == before
    assert len(await store.complete([(job, Completed()) for job in jobs])) == 3


async def test_a_lease_outlives_the_repair_of_another_column(
    store: JobStore, connection: Connection, unwatched: Connection
) -> None:
    await enqueue(store, make_job())
    (job,) = await claim(store)
    lease = await connection.fetchval("SELECT lease_expires_at FROM job_queue")
    await unwatched.execute("UPDATE analysis_jobs SET priority = 10")
    assert await connection.fetchval("SELECT repair_job_queue()") == 1
    assert await connection.fetchval("SELECT lease_expires_at FROM job_queue") == lease
    assert await store.complete([(job, Completed())]) == {job.id}


async def test_a_row_that_somebody_holds_is_left_for_the_next_repair(
    store: JobStore, connection: Connection, unwatched: Connection
) -> None:
    first, second = await enqueue(store, make_job(), make_job())
    await unwatched.execute("UPDATE analysis_jobs SET priority = 10")
    async with unwatched.transaction():
        await unwatched.execute("SELECT 1 FROM analysis_jobs WHERE id = $1 FOR UPDATE", first.id)
        assert await connection.fetchval("SELECT repair_job_queue()") == 1
    assert await connection.fetchval("SELECT repair_job_queue()") == 1
    await assert_invariant(connection)
    assert {job.id for job in await claim(store, 2)} == {first.id, second.id}


async def steps(connection: Connection, queue: int = 20, jobs: int = 5) -> list[tuple[int, ...]]:
    """A round's steps, and what each answers."""
    answers = []
    while True:
        row = await connection.fetchrow("SELECT * FROM repair_a_step($1, $2)", queue, jobs)
        assert row is not None
        answers.append(tuple(row))
        if not row["more"]:
            return answers


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_rounds_find_all_that_is_astray(
    store: JobStore, connection: Connection, unwatched: Connection, damage: str
) -> None:
    await enqueue(store, *(make_job() for _ in range(6)), make_job(run_at=at(minutes=5)))
    jobs = await claim(store, 3)
    await store.complete([(jobs[0], Completed())])
    # Older than what every round looks at.
    await unwatched.execute("UPDATE analysis_jobs SET created_at = created_at - interval '1 day'")
    await unwatched.execute("UPDATE job_queue SET created_at = created_at - interval '1 day'")
    await unwatched.execute(damage)
    repaired = 0
    for _ in range(6):
        repaired += sum(step[1] for step in await steps(connection, queue=2, jobs=3))
    assert repaired > 0
    await assert_invariant(connection)
    row = await connection.fetchrow("SELECT jobs_repaired, jobs_astray FROM schema_info")
    assert row is not None
    assert row["jobs_astray"] == 0
    assert row["jobs_repaired"] >= repaired


async def test_a_round_looks_at_new_jobs_wherever_the_walk_is(
    store: JobStore, connection: Connection, unwatched: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(9)))
    await steps(connection, queue=100, jobs=2)
    await unwatched.execute("DELETE FROM job_queue")
    assert await steps(connection, queue=100, jobs=2) == [(0, 9, 0)]
    await assert_invariant(connection)


async def test_what_somebody_holds_is_counted_as_astray_until_a_round_repairs_it(
    store: JobStore, connection: Connection, unwatched: Connection
) -> None:
    (job,) = await enqueue(store, make_job())
    await unwatched.execute("UPDATE analysis_jobs SET priority = 10")
    async with unwatched.transaction():
        await unwatched.execute("SELECT 1 FROM analysis_jobs WHERE id = $1 FOR UPDATE", job.id)
        assert await steps(connection) == [(0, 0, 1)]
    assert await connection.fetchval("SELECT jobs_astray FROM schema_info") == 1
    assert await steps(connection) == [(0, 1, 0)]
    assert await connection.fetchval("SELECT jobs_astray FROM schema_info") == 0


async def test_a_job_in_the_middle_of_a_transition_is_not_astray(
    store: JobStore, connection: Connection, pool: Pool
) -> None:
    await enqueue(store, *(make_job() for _ in range(4)))
    async with pool.acquire() as other, other.transaction():
        jobs = await store.claim("w1", ["default"], ["complete_analysis"], 2, LEASE, executor=other)
        assert await steps(connection) == [(0, 0, 0)]
    assert await steps(connection) == [(0, 0, 0)]
    assert len(await store.complete([(job, Completed()) for job in jobs])) == 2


async def test_a_row_that_the_queue_refuses_keeps_no_other_from_being_repaired(
    store: JobStore, connection: Connection, unwatched: Connection
) -> None:
    first, second = await enqueue(store, make_job(), make_job())
    await unwatched.execute("DELETE FROM job_queue")
    await unwatched.execute("ALTER TABLE job_queue ADD CONSTRAINT picky CHECK (job_type <> 'odd')")
    try:
        await unwatched.execute("UPDATE analysis_jobs SET job_type = 'odd' WHERE id = $1", first.id)
        assert await connection.fetchval("SELECT repair_job_queue()") == 1
        assert [job.id for job in await claim(store)] == [second.id]
    finally:
        await unwatched.execute("ALTER TABLE job_queue DROP CONSTRAINT picky")


async def test_a_round_costs_the_same_however_many_jobs_have_finished(
    connection: Connection, unwatched: Connection
) -> None:
    await unwatched.execute(
        """
        INSERT INTO analysis_jobs (
            id, job_type, status, queue, completed_at, created_at, priority, max_retries
        )
        SELECT gen_random_uuid(), 'cleanup', 'completed', 'default', now() - interval '1 day',
            now() - interval '2 days', 5, 3
        FROM generate_series(1, 30000)
        """
    )
    for analyzed in (False, True):
        if analyzed:
            await unwatched.execute("ANALYZE analysis_jobs")
        await steps(connection, queue=1000, jobs=100)
        plan = orjson.loads(
            await connection.fetchval(
                "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM repair_a_step(1000, 100)"
            )
        )[0]["Plan"]
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 1000
