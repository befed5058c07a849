"""Code and schema change one after the other: what one meets of the other passes."""

from contextlib import AsyncExitStack

import pytest

from tests.support.waiting import eventually
from tests.support.workers import bench
from wastewise_jobs import JobContext, Jobs
from wastewise_jobs.db.pool import Connection

DEPLOYED = {
    "a table that is not there yet": "SELECT * FROM not_yet",
    "a column that is not there yet": "SELECT not_yet FROM bills",
    "a function that is not there yet": "SELECT not_yet(n) FROM bills",
}


@pytest.mark.parametrize("statement", DEPLOYED.values(), ids=DEPLOYED)
async def test_code_that_meets_another_schema_is_run_again(db: str, statement: str) -> None:
    jobs = Jobs()

    @jobs.handler("reads")
    async def reads(job: JobContext) -> None:
        async with job.transaction() as connection:
            await connection.fetch(statement)

    async with bench(db, jobs) as b, b.worker() as worker:
        await b.pool.execute("CREATE TABLE bills (n integer)")
        job_id = (await reads.enqueue()).id
        await eventually(lambda: worker.stats.retried + worker.stats.failed == 1)
        job = await b.job(job_id)
        assert (job.status, job.error_code) == ("pending", "DATABASE_CHANGED")
        # What a migration brings.
        await b.pool.execute("""
            CREATE TABLE not_yet (n integer);
            ALTER TABLE bills ADD not_yet integer;
            CREATE FUNCTION not_yet(n integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
            UPDATE analysis_jobs SET retry_after = NULL;
        """)
        await b.until(job_id, "completed")


@pytest.mark.parametrize("by", ["fetch", "cursor"])
async def test_plans_from_before_a_migration_cost_one_attempt(db: str, by: str) -> None:
    """Although every session of the pool has one."""
    jobs = Jobs()

    @jobs.handler("reads")
    async def reads(job: JobContext) -> None:
        async with job.transaction() as connection:
            await read(connection)

    async def read(connection: Connection) -> None:
        if by == "fetch":
            await connection.fetch("SELECT * FROM bills")
        else:
            await (await connection.cursor("SELECT * FROM bills")).fetch(1)

    async with bench(db, jobs) as b, AsyncExitStack() as held:
        await b.pool.execute("CREATE TABLE bills (n integer)")
        for _ in range(b.pool.get_max_size()):
            connection = await held.enter_async_context(b.pool.acquire())
            async with connection.transaction():
                await read(connection)
        await connection.execute("ALTER TABLE bills ALTER n TYPE text")
        await held.aclose()
        async with b.worker() as worker:
            job_id = (await reads.enqueue()).id
            await eventually(lambda: worker.stats.retried + worker.stats.failed == 1)
            job = await b.job(job_id)
            assert (job.status, job.error_code) == ("pending", "DATABASE_CHANGED")
            await b.pool.execute("UPDATE analysis_jobs SET retry_after = NULL")
            await b.until(job_id, "completed")
            assert worker.stats.retried == 1
