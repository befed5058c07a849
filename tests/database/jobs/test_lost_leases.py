"""Whoever lost a lease changes nothing, whatever took it away and whatever it tries."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.support.factories import (
    LEASE,
    assert_invariant,
    cancel_run,
    claim,
    come_due,
    everything,
    expire_leases,
    job_row,
    make_running,
    rescue,
)
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.errors import LeaseLostError
from wastewise_jobs.jobs.model import ClaimedJob, Progress
from wastewise_jobs.jobs.outcome import Completed, Failed, RetryLater
from wastewise_jobs.jobs.store import JobStore, LeaseNews

RETRY = RetryLater("NETWORK_ERROR", "no answer", "retryable", least_delay=timedelta(hours=1))
FAILED = Failed("INVALID_INPUT", "no files", "permanent")

Loss = Callable[[JobStore, Connection, ClaimedJob], Awaitable[Any]]
LOSSES: dict[str, Loss] = {}


def loss(take: Loss) -> Loss:
    LOSSES[take.__name__] = take
    return take


@loss
async def rescued(store: JobStore, connection: Connection, job: ClaimedJob) -> None:
    await expire_leases(connection, job.id)
    assert [r.settled for r in await rescue(store)] == ["rescued"]


@loss
async def rescued_and_claimed_by_another_worker(
    store: JobStore, connection: Connection, job: ClaimedJob
) -> None:
    await rescued(store, connection, job)
    await come_due(connection, job.id)
    assert await claim(store, worker_id="w2")


@loss
async def released_and_claimed_again_by_the_same_worker(
    store: JobStore, _connection: Connection, job: ClaimedJob
) -> None:
    await store.release([job])
    assert await claim(store, worker_id="w1")


@loss
async def failed_and_requeued(store: JobStore, _connection: Connection, job: ClaimedJob) -> None:
    await store.fail([(job, FAILED)])
    assert await store.requeue(job.id, user_id=None) == "requeued"


@loss
async def failed_requeued_and_claimed(
    store: JobStore, connection: Connection, job: ClaimedJob
) -> None:
    await failed_and_requeued(store, connection, job)
    assert await claim(store)


@loss
async def completed(store: JobStore, _connection: Connection, job: ClaimedJob) -> None:
    await store.complete([(job, Completed('"first"'))])


@loss
async def cancelled(store: JobStore, _connection: Connection, job: ClaimedJob) -> None:
    await cancel_run(store, job)


@loss
async def rescued_as_cancelled(store: JobStore, connection: Connection, job: ClaimedJob) -> None:
    await store.cancel(job.id, user_id=None)
    await expire_leases(connection, job.id)
    assert [r.settled for r in await rescue(store)] == ["cancelled"]


@loss
async def set_pending_by_a_plain_update(
    _store: JobStore, connection: Connection, _job: ClaimedJob
) -> None:
    await connection.execute("UPDATE analysis_jobs SET status = 'pending'")


@loss
async def set_cancelled_by_a_plain_update(
    _store: JobStore, connection: Connection, _job: ClaimedJob
) -> None:
    await connection.execute("UPDATE analysis_jobs SET status = 'cancelled'")


@loss
async def set_pending_and_processing_again_by_plain_updates(
    _store: JobStore, connection: Connection, _job: ClaimedJob
) -> None:
    await connection.execute("UPDATE analysis_jobs SET status = 'pending'")
    await connection.execute("UPDATE analysis_jobs SET status = 'processing'")


@loss
async def retried_by_hand(_store: JobStore, connection: Connection, job: ClaimedJob) -> None:
    assert await connection.fetchval("SELECT schedule_job_retry($1, 'by hand')", job.id)


@loss
async def deleted(_store: JobStore, connection: Connection, _job: ClaimedJob) -> None:
    await connection.execute("DELETE FROM analysis_jobs")


@loss
async def truncated(_store: JobStore, connection: Connection, _job: ClaimedJob) -> None:
    await connection.execute("TRUNCATE analysis_jobs CASCADE")


@loss
async def given_another_id(_store: JobStore, connection: Connection, _job: ClaimedJob) -> None:
    await connection.execute("UPDATE analysis_jobs SET id = gen_random_uuid()")


@pytest.mark.parametrize("take", LOSSES.values(), ids=LOSSES.keys())
async def test_a_lost_lease_settles_nothing(
    store: JobStore, pool: Pool, connection: Connection, take: Loss
) -> None:
    job = await make_running(store)
    await take(store, connection, job)
    await assert_invariant(connection)
    before = await everything(connection)

    assert await store.complete([(job, Completed('"late"'))]) == set()
    assert await store.retry([(job, RETRY)]) == {}
    assert await store.fail([(job, FAILED)]) == set()
    assert await store.release([job]) == set()
    assert await store.cancel_running([job]) == set()
    assert await store.progress([(job, Progress(99, "late"))]) == set()
    assert await store.heartbeat([job], LEASE) == [
        LeaseNews(job.id, held=False, cancel_requested=False)
    ]
    async with pool.acquire() as own, own.transaction():
        with pytest.raises(LeaseLostError):
            await store.hold(job, idle_limit=LEASE, connection=own)

    assert await everything(connection) == before


async def test_a_lease_that_expired_but_was_not_taken_yet_still_settles(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await expire_leases(connection, job.id)
    assert await store.complete([(job, Completed("1"))]) == {job.id}
    assert await rescue(store) == []


async def test_a_heartbeat_renews_the_held_and_names_the_lost(
    store: JobStore, connection: Connection
) -> None:
    lost = await make_running(store)
    held = await make_running(store)
    await expire_leases(connection, lost.id, held.id)
    await connection.execute("UPDATE analysis_jobs SET status = 'failed' WHERE id = $1", lost.id)
    assert await store.heartbeat([lost, held], LEASE) == [
        LeaseNews(lost.id, held=False, cancel_requested=False)
    ]
    assert await rescue(store) == []
    assert (await job_row(connection, held.id))["status"] == "processing"


async def test_no_transition_ever_lowers_the_fence(store: JobStore, connection: Connection) -> None:
    job = await make_running(store)
    seen = [job.fence]

    async def look() -> None:
        seen.append((await job_row(connection, job.id))["fence"])

    await store.fail([(job, FAILED)])
    await look()
    await store.requeue(job.id, user_id=None)
    await look()
    (again,) = await claim(store)
    await look()
    await store.complete([(again, Completed("1"))])
    await look()
    await connection.execute("UPDATE analysis_jobs SET status = 'pending'")
    await look()
    # Nor does a person, by mistake.
    await connection.execute("UPDATE analysis_jobs SET fence = 0")
    await look()
    assert seen == sorted(seen)
    assert seen[-1] > again.fence
    await assert_invariant(connection)
