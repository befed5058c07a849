"""Two workers, fifty good jobs, and one row that no worker can work with."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from tests.conftest import connected
from tests.support.factories import assert_invariant, make_job
from tests.support.hostile_values import spoil
from tests.support.waiting import eventually
from tests.support.workers import Bench, bench
from wastewise_jobs import JobContext, Jobs
from wastewise_jobs.maintenance.checks import Thresholds, all_checks
from wastewise_jobs.maintenance.rounds import Maintenance

SPOILS = {
    "fence": "9223372036854775807",
    "created_at": "'12000-01-01 00:00:00+00'",
    "retry_count": "-1",
    "timeout_seconds": "'NaN'",
    "input_data": "('[' || repeat('1e131000,', 20000) || '1]')::jsonb",
}
# Nobody's of ours: an existing database may have its own.
STRANGER = (
    "ALTER TABLE analysis_jobs ADD CONSTRAINT theirs CHECK (error_code <> 'theirs') NOT VALID"
)


async def spoiled(b: Bench, job_id: UUID, column: str, value: str) -> None:
    async with connected(b.dsn) as connection:
        await spoil(connection, job_id, column, value)


async def fifty_and_one(b: Bench) -> tuple[list[UUID], UUID]:
    """The bad one is in the middle."""
    jobs = [make_job(job_type="good") for _ in range(51)]
    await b.store.enqueue(jobs)
    ids: list[UUID] = [job.id for job in jobs]
    return ids[:25] + ids[26:], ids[25]


@pytest.mark.parametrize(("column", "value"), SPOILS.items(), ids=SPOILS.keys())
async def test_fifty_jobs_complete_and_the_unreadable_one_is_failed(
    db: str, column: str, value: str
) -> None:
    jobs = Jobs()

    @jobs.handler("good")
    async def good(job: JobContext) -> str:
        return "done"

    async with bench(db, jobs) as b:
        ids, bad = await fifty_and_one(b)
        await spoiled(b, bad, column, value)
        async with b.worker() as first, b.worker() as second:
            await eventually(lambda: first.stats.completed + second.stats.completed == 50)
            view = await b.until(bad, "failed")
            assert first.stats.claim_errors == second.stats.claim_errors == 0
        assert view.error_code == "UNREADABLE_ROW"
        assert column in (view.error_message or "")
        assert {(await b.job(job_id)).status for job_id in ids} == {"completed"}
        await assert_invariant(b.pool)


async def test_a_row_that_a_constraint_of_others_refuses_stops_nobody(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("good")
    async def good(job: JobContext) -> None: ...

    async with bench(db, jobs) as b:
        ids, bad = await fifty_and_one(b)
        await b.pool.execute("UPDATE analysis_jobs SET error_code = 'theirs' WHERE id = $1", bad)
        await b.pool.execute(STRANGER)
        async with b.worker():
            for job_id in ids:
                await b.until(job_id, "completed")
            view = await b.until(bad, "failed")
        assert view.error_code == "UNREADABLE_ROW"
        assert "theirs" in (view.error_message or "")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("fence", "9223372036854775807"),
        ("started_at", "'-infinity'"),
        ("retry_count", "2147483647"),
        ("ai_tokens_input", "9223372036854775807"),
        ("timeout_seconds", "'NaN'"),
    ],
)
async def test_a_row_that_is_spoiled_while_it_runs_disturbs_no_other(
    db: str, column: str, value: str
) -> None:
    jobs = Jobs()
    go_on = asyncio.Event()
    begun: list[None] = []

    @jobs.handler("good")
    async def good(job: JobContext) -> str:
        begun.append(None)
        await go_on.wait()
        return "done"

    async with bench(db, jobs) as b, b.worker(concurrency=60) as worker:
        ids, bad = await fifty_and_one(b)
        await eventually(lambda: len(begun) == 51)
        await spoiled(b, bad, column, value)
        # Leases outlive two heartbeats that carry the spoiled one.
        beats = worker.stats.heartbeat_errors
        lease = await b.pool.fetchval("SELECT max(lease_expires_at) FROM job_queue")
        await eventually(
            lambda: b.pool.fetchval(
                "SELECT min(lease_expires_at) > $1::timestamptz + interval '0.5 s' FROM job_queue",
                lease,
            )
        )
        go_on.set()
        for job_id in ids:
            await b.until(job_id, "completed")
        assert worker.stats.heartbeat_errors == beats
        view = await b.until(bad, "completed", "failed", within=30)
        assert view.status == "completed" or view.error_code == "UNREADABLE_ROW"


async def test_a_round_repairs_what_was_written_behind_every_trigger(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("good")
    async def good(job: JobContext) -> None: ...

    async with bench(db, jobs) as b:
        ids, _ = await fifty_and_one(b)
        async with connected(db) as connection:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute("DELETE FROM job_queue")
        rounds = Maintenance(
            b.pool, all_checks(Thresholds()), interval=timedelta(0), jitter=timedelta(0)
        )
        assert await rounds.tick()
        assert not rounds.failures
        await assert_invariant(b.pool)
        async with b.worker():
            for job_id in ids:
                await b.until(job_id, "completed")
