import asyncio
from uuid import UUID, uuid4

import pytest

from tests.conftest import connected
from tests.support.factories import at, cancel_run, claim, enqueue, insert_plainly, make_job
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.jobs.model import Enqueued, JobTypeInfo
from wastewise_jobs.jobs.outcome import Completed, Failed
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.jobs.types import JobTypeStore

FIRST = "first analysis of a first-time user"


async def assigned(connection: Connection, user: UUID | None, job_type: str) -> int:
    found: int = await connection.fetchval("SELECT assign_job_priority($1, $2)", user, job_type)
    return found


@pytest.mark.parametrize(
    ("job_type", "priority", "reason"),
    [
        ("complete_analysis", 3, FIRST),
        ("invoice_extraction", 3, FIRST),
        ("regulatory_research", 5, "regular job"),
        ("anything_else", 5, "regular job"),
        ("report_generation", 7, "report generation"),
        ("cleanup", 9, "batch work"),
        ("batch", 9, "batch work"),
        ("batch_import", 9, "batch work"),
        ("batches", 5, "regular job"),
    ],
)
async def test_a_first_time_user_gets_the_priority_of_the_type(
    store: JobStore, connection: Connection, job_type: str, priority: int, reason: str
) -> None:
    assert await assigned(connection, uuid4(), job_type) == priority
    (answer,) = await enqueue(store, make_job(user_id=uuid4(), job_type=job_type))
    assert (answer.priority, answer.priority_reason) == (priority, reason)


async def test_a_second_analysis_and_those_of_nobody_are_regular(
    store: JobStore, connection: Connection
) -> None:
    user = uuid4()
    for job_type in ("complete_analysis", "invoice_extraction"):
        jobs = [make_job(user_id=user, job_type=job_type), make_job(job_type=job_type)]
        first, of_nobody = await enqueue(store, *jobs)
        assert (of_nobody.priority, of_nobody.priority_reason) == (5, "regular analysis")
    assert (first.priority, first.priority_reason) == (5, "regular analysis")
    assert await assigned(connection, user, "complete_analysis") == 5
    assert await assigned(connection, None, "complete_analysis") == 5


@pytest.mark.parametrize(
    ("end", "priority"),
    [("pending", 5), ("processing", 5), ("completed", 5), ("failed", 3), ("cancelled", 3)],
)
async def test_only_an_analysis_that_waits_runs_or_completed_counts(
    store: JobStore, end: str, priority: int
) -> None:
    user = uuid4()
    await enqueue(store, make_job(user_id=user))
    if end != "pending":
        (job,) = await claim(store)
        if end == "completed":
            await store.complete([(job, Completed())])
        elif end == "failed":
            await store.fail([(job, Failed("X", "x", "permanent"))])
        elif end == "cancelled":
            await cancel_run(store, job)
    (answer,) = await enqueue(store, make_job(user_id=user))
    assert answer.priority == priority


async def test_a_report_or_somebody_elses_analysis_does_not_count(store: JobStore) -> None:
    user = uuid4()
    await enqueue(store, make_job(user_id=user, job_type="report_generation"))
    await enqueue(store, make_job(user_id=uuid4()))
    (answer,) = await enqueue(store, make_job(user_id=user))
    assert answer.priority == 3


async def test_of_one_batch_each_user_gets_one_first(store: JobStore) -> None:
    users = [uuid4(), uuid4()]
    jobs = [make_job(user_id=users[n % 2]) for n in range(6)]
    answers = await enqueue(store, *jobs)
    assert [answer.priority for answer in answers] == [3, 3, 5, 5, 5, 5]


async def test_a_priority_that_is_asked_for_is_kept_and_uses_up_no_first(store: JobStore) -> None:
    user = uuid4()
    asked, first = await enqueue(
        store,
        make_job(user_id=user, priority=8, priority_reason="clamped"),
        make_job(user_id=user),
    )
    assert (asked.priority, asked.priority_reason) == (8, "clamped")
    assert (first.priority, first.priority_reason) == (3, FIRST)


async def test_of_many_who_enqueue_at_once_one_gets_the_first(store: JobStore) -> None:
    # Again and again: who is quicker to commit than the first is a matter of luck.
    for _ in range(15):
        user = uuid4()
        jobs = [[make_job(user_id=user), make_job(user_id=user)] for _ in range(16)]
        answers = await asyncio.gather(*(store.enqueue(batch) for batch in jobs))
        found = sorted(a.priority for batch in answers for a in batch if isinstance(a, Enqueued))
        assert found == [3] + [5] * 31


async def test_a_first_that_is_rolled_back_is_still_to_be_had(
    queue_db: str, store: JobStore
) -> None:
    user = uuid4()
    async with connected(queue_db) as other:
        transaction = other.transaction()
        await transaction.start()
        (held,) = await store.enqueue([make_job(user_id=user)], connection=other)
        assert isinstance(held, Enqueued)
        assert held.priority == 3
        # Somebody who comes meanwhile does not wait; that there is a first is not certain yet.
        (meanwhile,) = await enqueue(store, make_job(user_id=user, run_at=at(minutes=1)))
        assert meanwhile.priority == 5
        await transaction.rollback()
    await store.cancel(meanwhile.id, user_id=None)
    (now,) = await enqueue(store, make_job(user_id=user))
    assert now.priority == 3


async def test_a_registered_type_has_its_own_priority_where_the_product_has_none(
    store: JobStore, pool: Pool, connection: Connection
) -> None:
    types = [JobTypeInfo("resize", priority=2), JobTypeInfo("report_generation", priority=1)]
    await JobTypeStore(pool).register(types)
    assert await assigned(connection, None, "resize") == 2
    assert await assigned(connection, None, "report_generation") == 7
    own = await insert_plainly(connection, job_type="resize", priority=9)
    view = await store.get(own, user_id=None)
    assert view is not None
    assert view.priority == 9


async def test_parameters_are_named_as_rpc_callers_know_them(connection: Connection) -> None:
    found = await connection.fetchval(
        "SELECT assign_job_priority(user_id => gen_random_uuid(), job_type => 'cleanup')"
    )
    assert found == 9
