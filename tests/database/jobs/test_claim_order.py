from collections.abc import Sequence

import pytest

from tests.support.factories import (
    assert_invariant,
    at,
    claim,
    come_due,
    enqueue,
    enqueue_one,
    insert_plainly,
    make_job,
    make_running,
    queue_row,
    seconds_until_due,
)
from wastewise_jobs.db.pool import Connection
from wastewise_jobs.jobs.model import JobId
from wastewise_jobs.jobs.outcome import Failed
from wastewise_jobs.jobs.store import JobStore


async def _claim_all(store: JobStore, one_by_one: bool) -> list[JobId]:  # noqa: FBT001
    if not one_by_one:
        return [job.id for job in await claim(store, 100, queues=("default", "reports"))]
    found = []
    while jobs := await claim(store, 1, queues=("default", "reports")):
        found += [job.id for job in jobs]
    return found


@pytest.mark.parametrize("one_by_one", [True, False], ids=["one by one", "in one batch"])
async def test_the_order_is_priority_then_creation_then_id_across_types_and_queues(
    store: JobStore,
    connection: Connection,
    one_by_one: bool,  # noqa: FBT001
) -> None:
    older, newer = at(minutes=-20), at(minutes=-10)
    rows = [
        (9, older, "cleanup", "default"),
        (5, newer, "complete_analysis", "reports"),
        (5, older, "report_generation", "default"),
        (5, older, "complete_analysis", "reports"),
        (1, newer, "report_generation", "reports"),
        (5, older, "report_generation", "reports"),
        (10, older, "complete_analysis", "default"),
        (1, older, "cleanup", "default"),
    ]
    made: list[tuple[int, object, JobId]] = []
    for priority, created_at, job_type, queue in rows:
        job_id = await insert_plainly(
            connection, job_type=job_type, queue=queue, priority=priority, created_at=created_at
        )
        made.append((priority, created_at, job_id))
    in_order = [job_id for _, _, job_id in sorted(made, key=lambda m: (m[0], m[1], m[2].bytes))]
    assert await _claim_all(store, one_by_one) == in_order


async def test_equal_jobs_are_claimed_in_the_order_they_came(store: JobStore) -> None:
    ids = [await enqueue_one(store) for _ in range(12)]
    claimed = [job.id for size in (1, 5, 6) for job in await claim(store, size)]
    assert claimed == ids


async def test_jobs_of_one_batch_are_claimed_in_the_order_of_the_batch(store: JobStore) -> None:
    answers = await enqueue(store, *(make_job() for _ in range(30)))
    assert [job.id for job in await claim(store, 30)] == [answer.id for answer in answers]


async def test_a_job_is_not_claimed_before_it_is_due(
    store: JobStore, connection: Connection
) -> None:
    later = await enqueue_one(store, run_at=at(minutes=10), priority=1)
    now = await enqueue_one(store, priority=10)
    assert [job.id for job in await claim(store, 10)] == [now]
    seconds = await seconds_until_due(store)
    assert seconds is not None
    assert 500 < seconds <= 600
    await come_due(connection, later)
    assert [job.id for job in await claim(store, 10)] == [later]
    assert await seconds_until_due(store) is None


async def test_an_overdue_job_says_how_late_it_is(store: JobStore, connection: Connection) -> None:
    await come_due(connection, await enqueue_one(store, run_at=at(minutes=10)))
    seconds = await seconds_until_due(store)
    assert seconds is not None
    assert -60 < seconds < 0


async def test_jobs_that_come_due_together_are_claimed_by_priority_first(
    store: JobStore, connection: Connection
) -> None:
    jobs = [make_job(run_at=at(minutes=10), priority=1 + n % 10) for n in range(40)]
    await enqueue(store, *jobs)
    await come_due(connection, *(job.id for job in jobs))
    # Two at a time: promoting a job before its betters would show.
    claimed = [job.priority for _ in range(20) for job in await claim(store, 2)]
    assert claimed == sorted(claimed)
    assert len(claimed) == 40
    await assert_invariant(connection)


@pytest.mark.parametrize(
    ("queues", "job_types"),
    [
        (("default",), ("complete_analysis",)),
        (("reports",), ("report_generation",)),
        (("reports", "nobody"), ("complete_analysis", "report_generation")),
    ],
)
async def test_only_the_asked_types_in_the_asked_queues_are_claimed(
    store: JobStore, connection: Connection, queues: Sequence[str], job_types: Sequence[str]
) -> None:
    made = {
        (queue, job_type): await enqueue_one(store, queue=queue, job_type=job_type)
        for queue in ("default", "reports")
        for job_type in ("complete_analysis", "report_generation")
    }
    claimed = {job.id for job in await claim(store, 9, queues=queues, job_types=job_types)}
    wanted = {made[q, t] for q, t in made if q in queues and t in job_types}
    assert claimed == wanted
    for job_id in set(made.values()) - wanted:
        assert (await queue_row(connection, job_id) or {})["due"]


async def test_a_job_whose_type_nobody_asks_for_is_not_touched(
    store: JobStore, connection: Connection
) -> None:
    await enqueue_one(store, job_type="unheard_of", priority=1)
    mine = await enqueue_one(store, priority=10)
    before = await connection.fetch("SELECT ctid, * FROM analysis_jobs WHERE priority = 1")
    assert [job.id for job in await claim(store, 5)] == [mine]
    after = await connection.fetch("SELECT ctid, * FROM analysis_jobs WHERE priority = 1")
    assert after == before


async def test_get_next_job_takes_any_type_from_any_queue_in_order(
    store: JobStore, connection: Connection
) -> None:
    last = await enqueue_one(store, priority=9)
    first = await enqueue_one(store, priority=2, job_type="unheard_of", queue="far_away")
    await enqueue_one(store, priority=1, run_at=at(minutes=5))
    assert await connection.fetchval("SELECT get_next_job('rpc')") == first
    assert await connection.fetchval("SELECT get_next_job(worker_identifier => 'rpc')") == last
    assert await connection.fetchval("SELECT get_next_job('rpc')") is None
    lease = await connection.fetchrow(
        "SELECT min(lease_expires_at - now()) AS least, max(lease_expires_at - now()) AS most "
        "FROM job_queue WHERE leased"
    )
    assert lease is not None
    # They cannot renew it, so it is the stuck threshold.
    assert 29 * 60 < lease["least"].total_seconds() <= lease["most"].total_seconds() <= 30 * 60
    worker = await connection.fetchval("SELECT worker_id FROM analysis_jobs WHERE id = $1", first)
    assert worker == "rpc"


@pytest.mark.parametrize("limit", [0, 1, 7])
async def test_no_more_jobs_are_claimed_than_asked_for(store: JobStore, limit: int) -> None:
    await enqueue(store, *(make_job() for _ in range(8)))
    assert len(await claim(store, limit)) == limit


async def test_a_job_that_somebody_holds_is_left_and_the_next_is_taken(
    store: JobStore, connection: Connection
) -> None:
    answers = await enqueue(store, *(make_job() for _ in range(9)))
    ids = [answer.id for answer in answers]
    async with connection.transaction():
        await connection.fetch(
            "SELECT 1 FROM analysis_jobs WHERE id = ANY ($1) FOR UPDATE", ids[:5]
        )
        assert [job.id for job in await claim(store, 2)] == ids[5:7]
        assert [job.id for job in await claim(store, 9)] == ids[7:]
        assert await claim(store, 9) == []
    assert [job.id for job in await claim(store, 9)] == ids[:5]


CRASHED_TWICE = "UPDATE analysis_jobs SET crash_count = 2 WHERE id = ANY ($1)"


async def test_of_the_jobs_on_their_last_chance_a_claim_takes_the_first(
    store: JobStore, connection: Connection
) -> None:
    ids = [answer.id for answer in await enqueue(store, *(make_job() for _ in range(12)))]
    suspects = [*ids[:6], ids[8]]
    await connection.execute(CRASHED_TWICE, suspects)
    await assert_invariant(connection)
    # A full page of them does not hide the others.
    first = await claim(store, 4)
    assert [job.id for job in first] == [ids[0], ids[6], ids[7], ids[9]]
    assert [job.on_last_chance for job in first] == [True, False, False, False]
    assert [job.id for job in await claim(store, 2, last_chance=False)] == ids[10:]
    assert await claim(store, 9, last_chance=False) == []
    rest = [job.id for _ in range(7) for job in await claim(store, 9)]
    assert rest == [*ids[1:6], ids[8]]
    await assert_invariant(connection)


async def test_whoever_claims_one_job_may_have_one_on_its_last_chance(
    store: JobStore, connection: Connection
) -> None:
    ids = [await enqueue_one(store) for _ in range(2)]
    await connection.execute(CRASHED_TWICE, ids)
    assert [await connection.fetchval("SELECT get_next_job('rpc')") for _ in ids] == ids


async def test_a_job_that_goes_round_again_is_on_its_last_chance_no_more(
    store: JobStore, connection: Connection
) -> None:
    jobs = [await make_running(store) for _ in range(2)]
    await connection.execute(CRASHED_TWICE, [job.id for job in jobs])
    for job in jobs:
        await store.fail([(job, Failed("X", "x", "permanent"))])
        await store.requeue(job.id, user_id=None)
    await assert_invariant(connection)
    assert len(await claim(store, 9)) == 2
