from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.support.factories import (
    LEASE,
    assert_invariant,
    at,
    cancel_run,
    claim,
    come_due,
    enqueue_one,
    everything,
    insert_project,
    job_row,
    make_running,
    queue_row,
)
from wastewise_jobs.db.pool import Connection
from wastewise_jobs.jobs.model import JobId
from wastewise_jobs.jobs.outcome import Completed, Failed, RetryLater
from wastewise_jobs.jobs.store import JobStore

MINUTES = [1, 5, 15, 30, 30, 30]


def retry(least: timedelta | None = None, message: str = "no answer") -> RetryLater:
    return RetryLater("NETWORK_ERROR", message, "retryable", {"status": 503}, least)


async def by_hand(connection: Connection, job_id: object, message: str = "by hand") -> bool:
    answer: bool = await connection.fetchval(
        "SELECT schedule_job_retry($1, $2, 'OPERATOR')", job_id, message
    )
    return answer


def assert_waits(row: dict[str, Any], minutes: int) -> None:
    waits = row["retry_after"] - row["updated_at"]
    assert timedelta(minutes=minutes) <= waits <= timedelta(minutes=minutes * 1.1)


@pytest.mark.parametrize("who", ["a worker", "an operator"])
async def test_retries_wait_1_5_15_and_then_30_minutes_and_are_logged(
    store: JobStore, connection: Connection, who: str
) -> None:
    job = await make_running(store, max_retries=6)
    for attempt, minutes in enumerate(MINUTES, start=1):
        if who == "a worker":
            answer = (await store.retry([(job, retry(message=f"error {attempt}"))]))[job.id]
            assert answer.settled == "retried"
        else:
            assert await by_hand(connection, job.id, f"error {attempt}")
        row = await job_row(connection, job.id)
        assert (row["status"], row["retry_count"], row["worker_id"]) == ("pending", attempt, None)
        assert_waits(row, minutes)
        assert row["error_message"] == f"error {attempt}"
        entry = row["retry_error_log"][-1]
        assert (entry["attempt"], entry["error_message"]) == (attempt, f"error {attempt}")
        assert entry["error_code"] == ("NETWORK_ERROR" if who == "a worker" else "OPERATOR")
        assert datetime.fromisoformat(entry["timestamp"]) - row["updated_at"] < timedelta(seconds=5)
        assert entry["worker_id"] == "w1"
        await assert_invariant(connection)
        await come_due(connection, job.id)
        (job,) = await claim(store)
        assert job.attempt == attempt + 1
    assert not await by_hand(connection, job.id)
    assert (await store.retry([(job, retry())]))[job.id].settled == "exhausted"


async def test_jobs_that_fail_together_do_not_come_back_together(
    store: JobStore, connection: Connection
) -> None:
    for _ in range(30):
        await enqueue_one(store)
    await store.retry([(job, retry()) for job in await claim(store, 30)])
    moments = await connection.fetch("SELECT DISTINCT retry_after FROM analysis_jobs")
    assert len(moments) == 30


async def test_a_retry_tells_when_and_the_job_waits_until_then(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    answer = (await store.retry([(job, retry())]))[job.id]
    row = await job_row(connection, job.id)
    assert answer.retry_after == row["retry_after"]
    assert datetime.fromisoformat(row["retry_error_log"][0]["retry_after"]) == row["retry_after"]
    assert row["retry_error_log"][0]["details"] == {"status": 503}
    assert await claim(store) == []


@pytest.mark.parametrize(("asked", "given"), [(3600, 3600), (5, 60)])
async def test_the_longer_of_schedule_and_retry_after_wins(
    store: JobStore, connection: Connection, asked: int, given: int
) -> None:
    job = await make_running(store)
    await store.retry([(job, retry(timedelta(seconds=asked)))])
    row = await job_row(connection, job.id)
    waits = (row["retry_after"] - row["updated_at"]).total_seconds()
    assert given <= waits <= given * 1.1


async def test_an_absurd_retry_after_does_not_keep_the_outcome_from_being_written(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    answers = await store.retry([(job, retry(timedelta.max))])
    assert answers[job.id].settled == "retried"
    assert (await job_row(connection, job.id))["retry_after"] < at(minutes=60 * 24 * 400)


async def test_when_no_retries_are_left_nothing_changes(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store, max_retries=0)
    before = await everything(connection)
    assert (await store.retry([(job, retry())]))[job.id].settled == "exhausted"
    assert not await by_hand(connection, job.id)
    assert await everything(connection) == before
    assert await store.fail([(job, Failed("X", "x", "retryable"))]) == {job.id}


@pytest.mark.parametrize(
    "state", ["completed", "cancelled", "exhausted", "missing", "being cancelled"]
)
async def test_schedule_job_retry_says_no_and_changes_nothing(
    store: JobStore, connection: Connection, state: str
) -> None:
    job = await make_running(store)
    match state:
        case "completed":
            await store.complete([(job, Completed('{"kept": true}'))])
        case "cancelled":
            await cancel_run(store, job)
        case "exhausted":
            await connection.execute("UPDATE analysis_jobs SET retry_count = max_retries")
            await store.fail([(job, Failed("X", "x", "retryable"))])
        case "being cancelled":
            await store.cancel(job.id, user_id=None)
        case _:
            pass
    before = await everything(connection)
    assert not await by_hand(connection, JobId(uuid4()) if state == "missing" else job.id)
    assert await everything(connection) == before


@pytest.mark.parametrize("state", ["pending", "waiting", "processing", "failed"])
async def test_schedule_job_retry_sends_an_unfinished_or_failed_job_round_again(
    store: JobStore, connection: Connection, state: str
) -> None:
    project = await insert_project(connection, uuid4())
    if state == "pending":
        job_id = await enqueue_one(store, project_id=project)
    elif state == "waiting":
        job_id = await enqueue_one(store, run_at=at(minutes=90))
    else:
        job = await make_running(store)
        job_id = job.id
        if state == "failed":
            await store.fail([(job, Failed("X", "x", "permanent"))])
    fence = (await job_row(connection, job_id))["fence"]
    assert await by_hand(connection, job_id)
    row = await job_row(connection, job_id)
    assert_waits(row, 1)
    assert (row["status"], row["retry_count"]) == ("pending", 1)
    assert (row["completed_at"], row["failed_at"]) == (None, None)
    assert row["fence"] > fence
    await assert_invariant(connection)


async def test_a_worker_loses_the_job_that_an_operator_retries(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    assert await by_hand(connection, job.id)
    (beat,) = await store.heartbeat([job], LEASE)
    assert not beat.held
    assert await store.complete([(job, Completed())]) == set()
    queued = await queue_row(connection, job.id)
    assert queued is not None
    assert (queued["leased"], queued["due"]) == (False, False)


async def test_the_code_may_be_left_out_and_names_are_those_of_rpc_callers(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    assert await connection.fetchval(
        "SELECT schedule_job_retry(job_id => $1, error_msg => NULL)", job.id
    )
    row = await job_row(connection, job.id)
    assert (row["retry_error_log"][0]["error_code"], row["error_code"]) == (None, None)


async def test_the_error_log_keeps_its_last_hundred_entries(
    store: JobStore, connection: Connection
) -> None:
    await connection.execute(
        """
        INSERT INTO analysis_jobs (job_type, max_retries, retry_count, retry_error_log)
        SELECT 'complete_analysis', 100, 99, jsonb_agg(jsonb_build_object('attempt', n) ORDER BY n)
        FROM generate_series(1, 100) AS n
        """
    )
    (job,) = await claim(store)
    await store.retry([(job, retry())])
    log = (await job_row(connection, job.id))["retry_error_log"]
    assert [entry["attempt"] for entry in log] == [*range(2, 101), 100]
    assert log[-1]["error_message"] == "no answer"


@pytest.mark.parametrize("log", ["null", '"text"', '{"a": 1}'])
async def test_an_error_log_that_is_no_array_gives_way_to_one(
    store: JobStore, connection: Connection, log: str
) -> None:
    job = await make_running(store)
    await connection.execute("UPDATE analysis_jobs SET retry_error_log = $1::text::jsonb", log)
    view = await store.get(job.id, user_id=None)
    assert view is not None
    assert view.retry_errors == []
    await store.retry([(job, retry())])
    assert len((await job_row(connection, job.id))["retry_error_log"]) == 1
