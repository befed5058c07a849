"""Values that PostgreSQL cannot store, or that no reader can read, harm only themselves."""

import asyncio
import math
from decimal import Decimal
from uuid import uuid4

import asyncpg
import pytest

from tests.support.factories import (
    assert_invariant,
    claim,
    come_due,
    enqueue,
    enqueue_one,
    everything,
    expire_leases,
    job_row,
    make_job,
    make_running,
    rescue,
)
from wastewise_jobs.db.pool import Connection
from wastewise_jobs.jobs.model import AiUsage, ClaimedJob, JobFilter, Progress
from wastewise_jobs.jobs.outcome import Completed, Failed, RetryLater
from wastewise_jobs.jobs.store import REFUSALS, JobStore

# Fourteen bytes that are a hundred thousand digits when read.
BOMB = '{"a":1e100000}'
INSERT_BOMB = """
INSERT INTO analysis_jobs (id, job_type, input_data, result_data, error_details, retry_error_log)
VALUES ($1, 'complete_analysis', $2::text::jsonb, $2::text::jsonb, $2::text::jsonb,
    ('[' || $2 || ']')::jsonb)
"""


@pytest.fixture
async def bomb(store: JobStore, connection: Connection) -> ClaimedJob:
    """A running job with a number in every place that no reader can hold; one more job waits."""
    await connection.execute(INSERT_BOMB, uuid4(), BOMB)
    await enqueue_one(store)
    (job,) = await claim(store)
    assert len(job.input_json) > 100_000
    return job


async def test_a_number_bomb_stops_no_claim_and_no_list(store: JobStore, bomb: ClaimedJob) -> None:
    assert len(await claim(store)) == 1
    views = {view.id: view for view in await store.list_jobs(JobFilter(), limit=10)}
    assert len(views) == 2
    assert not views[bomb.id].result
    view = await store.get(bomb.id, user_id=None)
    assert view is not None
    assert [v.id for v in await store.views([bomb.id])] == [bomb.id]


async def test_a_number_bomb_is_rescued_like_any_job(
    store: JobStore, connection: Connection, bomb: ClaimedJob
) -> None:
    (other,) = await claim(store)
    await expire_leases(connection, bomb.id, other.id)
    assert {rescued.id for rescued in await rescue(store)} == {bomb.id, other.id}
    await come_due(connection, bomb.id)
    (again,) = await claim(store)
    assert await store.fail([(again, Failed("INVALID_INPUT", "no", "permanent"))]) == {bomb.id}
    assert await store.requeue(bomb.id, user_id=None) == "requeued"
    await assert_invariant(connection)


@pytest.mark.parametrize(
    "column", ["input_data", "result_data", "error_details", "retry_error_log"]
)
async def test_a_row_that_would_be_gigabytes_as_text_is_refused(
    store: JobStore, connection: Connection, column: str
) -> None:
    job_id = await enqueue_one(store)
    many = "[" + ",".join(["1e100000"] * 200) + "]"
    before = await everything(connection)
    with pytest.raises(asyncpg.ProgramLimitExceededError):
        await connection.execute(
            f"UPDATE analysis_jobs SET {column} = $1::text::jsonb",  # noqa: S608
            many,
        )
    with pytest.raises(asyncpg.ProgramLimitExceededError):
        await connection.execute(
            f"INSERT INTO analysis_jobs (job_type, {column}) "  # noqa: S608
            "VALUES ('cleanup', $1::text::jsonb)",
            many,
        )
    assert await everything(connection) == before
    assert [job.id for job in await claim(store)] == [job_id]


UNSTORABLE = {
    "NUL": '{"a": "\\u0000"}',
    "a lone surrogate": '"\\ud800"',
    "a raw surrogate": '"\ud800"',
    "NaN": "NaN",
    "Infinity": '{"a": Infinity}',
    "half a text": '{"a":',
    "too deep": "[" * 100_000 + "]" * 100_000,
}


@pytest.mark.parametrize("text", UNSTORABLE.values(), ids=UNSTORABLE.keys())
async def test_a_result_that_cannot_be_stored_leaves_the_batch_to_be_repeated(
    store: JobStore, connection: Connection, text: str
) -> None:
    await enqueue(store, *(make_job() for _ in range(3)))
    jobs = await claim(store, 3)
    before = await everything(connection)
    texts = ['{"good": 1}', text, '{"good": 2}']
    with pytest.raises(REFUSALS):
        await store.complete([(j, Completed(t)) for j, t in zip(jobs, texts, strict=True)])
    assert await everything(connection) == before
    # One by one, as whoever settles does next: only the bad one is left.
    for job, result in zip(jobs, texts, strict=True):
        if result == text:
            with pytest.raises(REFUSALS):
                await store.complete([(job, Completed(result))])
        else:
            assert await store.complete([(job, Completed(result))]) == {job.id}
    failed = Failed("RESULT_NOT_STORABLE", "cannot be stored", "permanent")
    assert await store.fail([(jobs[1], failed)]) == {jobs[1].id}
    await assert_invariant(connection)


async def test_an_error_text_with_nul_is_a_data_error_and_changes_nothing(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    before = await everything(connection)
    for outcome in (Failed("X", "a\0b", "permanent"), Failed("X\0", "x", "permanent")):
        with pytest.raises(REFUSALS):
            await store.fail([(job, outcome)])
    with pytest.raises(REFUSALS):
        await store.retry([(job, RetryLater("X", "a\0b", "retryable"))])
    with pytest.raises(REFUSALS):
        await store.progress([(job, Progress(5, "a\0b"))])
    assert await everything(connection) == before
    assert await store.release([job]) == {job.id}


@pytest.mark.parametrize(
    "usage",
    [
        AiUsage(requests=2**31),
        AiUsage(tokens_input=2**63),
        AiUsage(cost_usd=float("nan")),
        AiUsage(cost_usd=float("inf")),
        AiUsage(cost_usd=1e300),
    ],
)
async def test_a_usage_that_no_column_holds_is_refused_or_readable(
    store: JobStore, usage: AiUsage
) -> None:
    job = await make_running(store)
    try:
        await store.complete([(job, Completed("1", usage))])
    except REFUSALS:
        assert await store.complete([(job, Completed("1"))]) == {job.id}
    view = await store.get(job.id, user_id=None)
    assert view is not None
    assert view.status == "completed"
    assert view.ai_cost_usd is None or math.isfinite(view.ai_cost_usd)


async def test_a_batch_behind_a_row_that_somebody_holds_gives_up_soon_and_changes_nothing(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(3)))
    jobs = await claim(store, 3)
    async with connection.transaction():
        await connection.execute("SELECT 1 FROM analysis_jobs WHERE id = $1 FOR UPDATE", jobs[1].id)
        before = await everything(connection)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await asyncio.wait_for(
                store.complete([(job, Completed("1")) for job in jobs]), timeout=5
            )
        assert await everything(connection) == before
        assert await store.complete([(jobs[0], Completed("1"))]) == {jobs[0].id}
    assert await store.complete([(job, Completed("1")) for job in jobs[1:]]) == {
        job.id for job in jobs[1:]
    }


async def test_costs_add_up_exactly_over_attempts(store: JobStore, connection: Connection) -> None:
    job = await make_running(store)
    await connection.execute("UPDATE analysis_jobs SET ai_cost_usd = 0.1, ai_requests = 1")
    await store.complete([(job, Completed(None, AiUsage(requests=1, cost_usd=0.2)))])
    row = await job_row(connection, job.id)
    assert (row["ai_cost_usd"], row["ai_requests"]) == (Decimal("0.3"), 2)
