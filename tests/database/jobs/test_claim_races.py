"""Many at once: nobody gets what another one has, nothing is lost, nobody deadlocks."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest

from tests.conftest import connected
from tests.support.factories import (
    LEASE,
    assert_invariant,
    claim,
    enqueue,
    expire_leases,
    insert_project,
    job_row,
    make_job,
    make_running,
    rescue,
)
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Connection, Pool, create_pool
from wastewise_jobs.jobs.model import ClaimedJob, JobId, Progress
from wastewise_jobs.jobs.outcome import Completed, Failed, RetryLater
from wastewise_jobs.jobs.store import JobStore

CLAIMERS = 16
JOBS = 2000
WAITING = """
SELECT count(*)
FROM pg_stat_activity
WHERE wait_event_type = 'Lock'
  AND datname = current_database()
"""
# Whoever settles repeats these job by job.
BUSY = (asyncpg.LockNotAvailableError,)


async def claim_until_none(pool: Pool, batch: int) -> list[JobId]:
    store = JobStore(pool)
    found: list[JobId] = []
    while jobs := await claim(store, batch, worker_id=f"w{batch}"):
        found += [job.id for job in jobs]
    return found


async def call_until_none(pool: Pool) -> list[JobId]:
    found: list[JobId] = []
    async with pool.acquire() as connection:
        while job_id := await connection.fetchval("SELECT get_next_job('rpc')"):
            found.append(job_id)
    return found


async def test_of_2000_jobs_nobody_gets_one_twice_and_none_is_lost(
    queue_db: str, connection: Connection
) -> None:
    async with create_pool(queue_db, max_size=CLAIMERS + 1) as pool:
        made = [
            answer.id
            for answer in await enqueue(JobStore(pool), *(make_job() for _ in range(JOBS)))
        ]
        sizes = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 100, 250, 500]
        claimers = [claim_until_none(pool, size) for size in sizes]
        callers = [call_until_none(pool) for _ in range(CLAIMERS - len(sizes))]
        found = await asyncio.gather(*claimers, *callers)
    claimed = Counter(job_id for ids in found for job_id in ids)
    assert [job_id for job_id, times in claimed.items() if times > 1] == []
    # A claimer may have left what another one held just then.
    left = await connection.fetch("SELECT id FROM analysis_jobs WHERE status = 'pending'")
    assert sorted([*claimed, *(row[0] for row in left)]) == sorted(made)
    assert left == []
    assert await connection.fetch("SELECT 1 FROM analysis_jobs WHERE fence <> 1") == []
    await assert_invariant(connection)


async def test_a_job_is_completed_once_however_many_try(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(20)))
    jobs = await claim(store, 20)

    async def complete(number: int) -> set[JobId]:
        outcomes = [(job, Completed(str(number))) for job in random.sample(jobs, len(jobs))]
        return await store.complete(outcomes)

    won = await asyncio.gather(*(complete(n) for n in range(12)))
    assert Counter(job_id for ids in won for job_id in ids) == Counter(job.id for job in jobs)
    await assert_invariant(connection)


async def test_cancel_against_completion_ends_in_what_was_answered(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(60)))
    jobs = await claim(store, 60)

    async def settle(job: ClaimedJob) -> set[JobId]:
        if job.id.int % 2:
            return await store.complete([(job, Completed("1"))])
        await store.retry([(job, RetryLater("X", "x", "retryable"))])
        return set()

    answers = await asyncio.gather(
        *(step for job in jobs for step in (settle(job), store.cancel(job.id, user_id=None)))
    )
    said = dict(zip((job.id for job in jobs), answers[1::2], strict=True))
    for row in await connection.fetch("SELECT id, status FROM analysis_jobs"):
        possible = {
            "cancelled": {"cancelled"},
            "finished": {"completed"},
            # Seen by the outcome that came after, unless that was a completion.
            "requested": {"cancelled", "completed"},
        }
        assert row["status"] in possible[str(said[row["id"]])]
    await assert_invariant(connection)


async def test_a_transition_waits_for_nobody_who_waits_for_it(
    db: str,
) -> None:
    """Everything at once, for as long as the work lasts; a front end updates in random order."""
    async with create_pool(db, max_size=24) as pool, connected(db) as watcher:
        storm = Storm(pool)
        await storm.prepare()
        await storm.run()
        assert storm.victims == []
        await assert_invariant(watcher)
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert await watcher.fetchval(deadlocks) == 0
        finished = await watcher.fetchval(
            "SELECT count(*) FROM analysis_jobs WHERE completed_at IS NOT NULL"
        )
        # It was a storm and not a calm.
        assert finished > 30
        assert storm.rounds["front end"] > 5


class Storm:
    """Workers, rescuers, people and a front end on the same 400 jobs, until a budget is used up."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.store = JobStore(pool)
        self.rounds: Counter[str] = Counter()
        self.victims: list[str] = []
        self.random = random.Random(7)  # noqa: S311 - repeatable, not secret
        self.ids: list[JobId] = []

    async def prepare(self) -> None:
        user = uuid4()
        projects = [await insert_project(self.pool, user, status="processing") for _ in range(20)]
        jobs = [
            make_job(project_id=projects[n % 20], priority=1 + n % 10, max_retries=50)
            for n in range(400)
        ]
        self.ids = [answer.id for answer in await enqueue(self.store, *jobs)]

    async def run(self) -> None:
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "front end": self.update_like_a_front_end,
            "operator": self.act_like_an_operator,
            "canceller": self.cancel,
            "rescuer": self.rescue,
            "repair": self.repair,
        }
        others = [self.repeat(name, step, 40) for name, step in steps.items()]
        workers = [self.repeat(f"worker {n}", self.work, 30) for n in range(8)]
        callers = [self.repeat(f"caller {n}", self.call, 30) for n in range(2)]
        await asyncio.gather(*others, *workers, *callers)

    async def repeat(self, name: str, step: Callable[[], Awaitable[object]], times: int) -> None:
        for _ in range(times):
            try:
                await step()
            except BUSY:
                self.rounds["gave way"] += 1
            except asyncpg.PostgresError as error:
                self.victims.append(f"{name}: {error!r}")
            self.rounds[name] += 1

    def some(self, count: int) -> list[JobId]:
        return self.random.sample(self.ids, count)

    async def work(self) -> None:
        jobs = await claim(self.store, self.random.choice([1, 5, 20]))
        self.random.shuffle(jobs)
        await self.store.heartbeat(jobs, LEASE)
        await self.store.progress([(job, Progress(50, "half")) for job in jobs])
        third = len(jobs) // 3
        match self.random.randrange(4):
            case 0:
                await self.store.complete([(job, Completed("1")) for job in jobs[third:]])
            case 1:
                retry = RetryLater("X", "x", "retryable")
                await self.store.retry([(job, retry) for job in jobs[third:]])
            case 2:
                await self.store.fail([(j, Failed("X", "x", "permanent")) for j in jobs[third:]])
            case _:
                await self.store.release(jobs[third:])

    async def call(self) -> None:
        await self.pool.fetchval("SELECT get_next_job('rpc')")
        await self.pool.fetchval("SELECT schedule_job_retry($1, 'by hand')", self.some(1)[0])

    async def update_like_a_front_end(self) -> None:
        """Row by row in an order of its own, all in one transaction."""
        async with self.pool.acquire() as connection, connection.transaction():
            for job_id in self.some(6):
                await connection.execute(
                    "UPDATE analysis_jobs SET priority = $2 WHERE id = $1",
                    job_id,
                    self.random.randint(1, 10),
                )

    async def act_like_an_operator(self) -> None:
        status = self.random.choice(["pending", "processing", "failed"])
        await self.pool.execute(
            "UPDATE analysis_jobs SET status = $2, retry_after = NULL WHERE id = $1",
            self.some(1)[0],
            status,
        )
        await self.store.requeue(self.some(1)[0], user_id=None)

    async def cancel(self) -> None:
        await self.store.cancel(self.some(1)[0], user_id=None)

    async def rescue(self) -> None:
        await self.pool.execute(
            "UPDATE job_queue SET lease_expires_at = now() - interval '1 s', expired = true "
            "WHERE leased AND id = ANY ($1)",
            self.some(3),
        )
        await asyncio.gather(rescue(self.store, 50), rescue(self.store, 50))

    async def repair(self) -> None:
        await self.pool.fetchval("SELECT repair_job_queue()")
        await self.pool.fetchval("SELECT prune_jobs('0 s', 2)")


@pytest.fixture
async def second(queue_db: str) -> AsyncIterator[Connection]:
    async with connected(queue_db) as connection:
        yield connection


async def test_a_claim_sees_the_change_that_was_made_while_it_looked(
    store: JobStore, connection: Connection, second: Connection
) -> None:
    """Cancelled, retried or delayed between the look at the queue and the lock on the job."""
    gone, delayed, stays = [a.id for a in await enqueue(store, *(make_job() for _ in range(3)))]
    await second.execute("BEGIN; LOCK TABLE analysis_jobs IN ACCESS EXCLUSIVE MODE")
    looking = asyncio.create_task(claim(store, 3))
    try:
        await eventually(lambda: connection.fetchval(WAITING))
        # The claim has its page of candidates and now wants the rows.
        await second.execute(f"UPDATE analysis_jobs SET status = 'cancelled' WHERE id = '{gone}'")  # noqa: S608
        await second.execute(
            "UPDATE analysis_jobs SET retry_after = now() + interval '1 hour' "  # noqa: S608
            f"WHERE id = '{delayed}'"
        )
    finally:
        await second.execute("COMMIT")
    assert [job.id for job in await looking] == [stays]
    await assert_invariant(connection)


@pytest.mark.parametrize("outcome", ["retry", "fail", "release"])
async def test_an_outcome_that_waits_for_a_request_to_cancel_obeys_it(
    store: JobStore, second: Connection, connection: Connection, outcome: str
) -> None:
    job = await make_running(store)
    steps: dict[str, Callable[[], Awaitable[object]]] = {
        "retry": lambda: store.retry([(job, RetryLater("X", "x", "retryable"))]),
        "fail": lambda: store.fail([(job, Failed("X", "x", "permanent"))]),
        "release": lambda: store.release([job]),
    }
    await second.execute("BEGIN")
    assert await second.fetchval("SELECT cancel_job($1)", job.id) == "requested"
    settling = asyncio.ensure_future(steps[outcome]())
    await eventually(lambda: connection.fetchval(WAITING), every=0.002)
    await second.execute("COMMIT")
    try:
        await settling
    except BUSY:  # A slow machine; whoever settles tries again.
        await steps[outcome]()
    assert (await job_row(connection, job.id))["status"] == "cancelled"
    await assert_invariant(connection)


async def test_deleting_projects_beside_outcomes_makes_no_deadlock(
    store: JobStore, connection: Connection, pool: Pool
) -> None:
    """A plain DELETE locks the project and then its jobs, an outcome the other way round."""
    user = uuid4()
    projects = [await insert_project(connection, user, status="processing") for _ in range(12)]
    jobs = [make_job(project_id=projects[n % 12]) for n in range(120)]
    await enqueue(store, *jobs)
    running = await claim(store, 60)
    await connection.execute("UPDATE analysis_jobs SET crash_count = 2")
    expired = [job.id for job in running[40:]]
    await expire_leases(connection, *expired)

    async def delete(project: object) -> None:
        await pool.execute("DELETE FROM projects WHERE id = $1", project)

    async def give_way(step: Awaitable[object]) -> None:
        with contextlib.suppress(*BUSY):
            await step

    failed = Failed("X", "x", "permanent")
    await asyncio.gather(
        *(give_way(store.fail([(job, failed) for job in running[n : n + 8]])) for n in (0, 8, 16)),
        *(delete(project) for project in projects),
        *(give_way(store.cancel(job.id, user_id=None)) for job in jobs),
        *(give_way(rescue(store, 7)) for _ in range(6)),
    )
    assert await connection.fetchval("SELECT count(*) FROM analysis_jobs") == 0
    await assert_invariant(connection)
