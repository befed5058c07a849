from uuid import uuid4

import pytest
from pydantic import BaseModel

from tests.conftest import connected
from tests.support.workers import bench
from wastewise_jobs import InvalidInputError, JobContext, Jobs, PermanentError
from wastewise_jobs.testing import drain, perform

jobs = Jobs()


class Bill(BaseModel):
    total: int


@jobs.handler("pay")
async def pay(job: JobContext, input: Bill) -> dict[str, object]:
    job.progress(50, "half", total_steps=2)
    job.record_ai_usage(requests=3)
    if input.total < 0:
        raise PermanentError("NEGATIVE", "no")
    if input.total > 10:
        await pay.enqueue(Bill(total=input.total - 10))
    return {"paid": input.total, "attempt": job.attempt, "user": job.user_id}


@jobs.handler("blocking")
def blocking(job: JobContext) -> bool:
    return job.cancelled


@jobs.handler("write")
async def write(job: JobContext) -> None:
    async with job.transaction() as connection:
        await connection.execute("CREATE TABLE written (n int)")
        job.set_result(5)


async def test_a_handler_is_performed_without_a_database() -> None:
    user = uuid4()
    done = await perform(pay, {"total": 3}, user_id=user, attempt=2)
    assert done.result == {"paid": 3, "attempt": 2, "user": user}
    assert [progress.step for progress in done.progress] == ["half"]
    assert done.ai_usage is not None
    assert done.ai_usage.requests == 3
    assert (await perform(blocking, cancelled=True)).result is True


async def test_performing_tells_what_a_worker_would_find() -> None:
    with pytest.raises(InvalidInputError, match="total"):
        await perform(pay, {"total": "x"})
    with pytest.raises(PermanentError):
        await perform(pay, Bill(total=-1))

    @Jobs().handler("odd")
    async def odd(job: JobContext) -> object:
        return b"x"

    with pytest.raises(InvalidInputError):
        await perform(odd)
    with pytest.raises(RuntimeError, match="connection="):
        await perform(write)


async def test_a_transaction_is_performed_on_a_given_connection(db: str) -> None:
    async with connected(db) as connection:
        assert (await perform(write, connection=connection)).result == 5
        assert await connection.fetchval("SELECT count(*) FROM written") == 0


async def test_drain_runs_everything_that_is_due(db: str) -> None:
    async with bench(db, jobs) as b:
        first = (await pay.enqueue(Bill(total=25))).id
        bad = (await pay.enqueue(Bill(total=-1))).id
        later = (await pay.enqueue(Bill(total=1), delay=60)).id
        thread = (await blocking.enqueue()).id
        stats = await drain(jobs, b.pool)
        assert (stats.completed, stats.failed) == (4, 1)
        found = [await b.status(job_id) for job_id in (first, bad, later, thread)]
        assert found == ["completed", "failed", "pending", "completed"]
