import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest
from pydantic import BaseModel

from tests.conftest import connected as connection_to
from tests.support.waiting import eventually
from wastewise_jobs import (
    InvalidInputError,
    JobContext,
    JobRefusedError,
    Jobs,
    WastewiseJobsError,
    connected,
)
from wastewise_jobs.jobs.model import Enqueued


class Bill(BaseModel):
    account: str


def make_jobs() -> Jobs:
    jobs = Jobs()

    @jobs.handler("send_bill", queue="mail", timeout=7, max_retries=1)
    async def send_bill(job: JobContext, input: Bill) -> None: ...

    return jobs


@asynccontextmanager
async def rings(db: str) -> AsyncIterator[list[str]]:
    heard: list[str] = []
    async with connection_to(db) as connection:
        await connection.add_listener("wastewise_wake", lambda *a: heard.append(a[3]))
        yield heard


async def test_whoever_is_connected_enqueues_and_wakes_workers_even_at_the_very_end(
    db: str,
) -> None:
    jobs = make_jobs()
    send_bill = jobs.get("send_bill")
    assert send_bill is not None
    async with rings(db) as heard:
        async with connected(jobs, dsn=db) as pool:
            job = await send_bill.enqueue(Bill(account="a"), user_id=uuid4())
            row = await pool.fetchrow(
                "SELECT queue, max_retries, timeout_seconds FROM analysis_jobs WHERE id = $1",
                job.id,
            )
        # Twice where the end cut the first ring short.
        await eventually(lambda: set(heard) == {"mail"})
    # As the decorator says, although no worker has registered it.
    assert tuple(row or ()) == ("mail", 1, 7.0)


async def test_nothing_can_be_enqueued_before_and_after(db: str) -> None:
    jobs = make_jobs()
    send_bill = jobs.get("send_bill")
    assert send_bill is not None
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"wastewise_jobs\.connected"):
            await send_bill.enqueue(Bill(account="a"))
        async with connected(jobs, dsn=db):
            await send_bill.enqueue(Bill(account="a"))


async def test_what_is_enqueued_at_the_same_time_shares_transactions_and_answers_for_itself(
    db: str,
) -> None:
    jobs = make_jobs()
    send_bill = jobs.get("send_bill")
    assert send_bill is not None
    async with connected(jobs, dsn=db) as pool:
        mine = [send_bill.enqueue(Bill(account=str(n)), user_id=uuid4()) for n in range(200)]
        # Nobody's project: refused, and nobody else with it.
        refused = send_bill.enqueue(Bill(account="x"), project_id=uuid4())
        *made, problem = await asyncio.gather(*mine, refused, return_exceptions=True)
        assert isinstance(problem, JobRefusedError)
        rows = await pool.fetch("SELECT id, input_data ->> 'account' AS account FROM analysis_jobs")
    accounts = {row["id"]: row["account"] for row in rows}
    answers = [job for job in made if isinstance(job, Enqueued)]
    assert [accounts[job.id] for job in answers] == [str(n) for n in range(200)]


async def test_two_hundred_at_once_take_a_few_statements(db: str) -> None:
    jobs = make_jobs()
    send_bill = jobs.get("send_bill")
    assert send_bill is not None
    async with connected(jobs, dsn=db) as pool:
        await asyncio.gather(*(send_bill.enqueue(Bill(account=str(n))) for n in range(200)))
        # Rows of one statement have its transaction's time.
        moments = await pool.fetchval("SELECT count(DISTINCT created_at) FROM analysis_jobs")
    assert 1 <= moments <= 3


async def test_who_gives_up_while_others_wait_takes_nobody_along(db: str) -> None:
    jobs = make_jobs()
    send_bill = jobs.get("send_bill")
    assert send_bill is not None
    async with connected(jobs, dsn=db) as pool:
        asked = [asyncio.create_task(send_bill.enqueue(Bill(account=str(n)))) for n in range(20)]
        await asyncio.sleep(0)
        asked[7].cancel()
        done = await asyncio.gather(*asked, return_exceptions=True)
        kept = {
            row[0] for row in await pool.fetch("SELECT input_data ->> 'account' FROM analysis_jobs")
        }
    assert isinstance(done[7], asyncio.CancelledError)
    assert {str(n) for n in range(20) if n != 7} <= kept


async def test_an_error_inside_comes_out_as_it_is(db: str) -> None:
    jobs = make_jobs()
    send_bill = jobs.get("send_bill")
    assert send_bill is not None
    with pytest.raises(InvalidInputError, match="account"):
        async with connected(jobs, dsn=db):
            await send_bill.enqueue({})


async def test_an_applications_own_pool_is_used_and_stays_open(db: str) -> None:
    jobs = make_jobs()
    send_bill = jobs.get("send_bill")
    assert send_bill is not None
    async with asyncpg.create_pool(db, min_size=1, max_size=3) as pool:
        async with connected(jobs, pool=pool) as used:
            assert used is pool
            answers = await send_bill.enqueue_many([Bill(account=str(n)) for n in range(3)])
            async with pool.acquire() as connection, connection.transaction():
                await send_bill.enqueue(Bill(account="tx"), connection=connection)
        assert len(answers) == 3
        assert await pool.fetchval("SELECT count(*) FROM analysis_jobs") == 4
        schema = await pool.fetchval("SELECT input_schema FROM job_types WHERE job_type = $1",
                                     "send_bill")  # fmt: skip
        assert json.loads(schema)["required"] == ["account"]


async def test_a_job_type_that_is_known_stays_as_its_workers_registered_it(db: str) -> None:
    jobs = make_jobs()
    async with connected(jobs, dsn=db) as pool:
        await pool.execute("UPDATE job_types SET max_retries = 9 WHERE job_type = 'send_bill'")
    async with connected(jobs, dsn=db) as pool:
        assert await pool.fetchval(
            "SELECT max_retries FROM job_types WHERE job_type = 'send_bill'"
        ) == 9  # fmt: skip


async def test_a_database_without_a_schema_is_refused_with_what_to_run(empty_db: str) -> None:
    with pytest.raises(WastewiseJobsError, match="wastewise-jobs migrate"):
        async with connected(make_jobs(), dsn=empty_db):
            pass
    async with asyncpg.create_pool(empty_db, min_size=1, max_size=1) as pool:
        with pytest.raises(WastewiseJobsError, match="wastewise-jobs migrate"):
            async with connected(make_jobs(), pool=pool):
                pass
