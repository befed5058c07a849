import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest

from tests.support.factories import (
    assert_invariant,
    at,
    cancel_run,
    claim,
    enqueue,
    enqueue_one,
    insert_project,
    job_row,
    make_job,
    make_running,
    queue_row,
)
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.errors import JobRefusedError
from wastewise_jobs.jobs.ids import new_job_id
from wastewise_jobs.jobs.model import Enqueued, JobTypeInfo, NewJob, Status
from wastewise_jobs.jobs.outcome import Completed, Failed
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.jobs.types import JobTypeStore


def keyed(key: str = "k1", request: bytes = b"same", **overrides: object) -> NewJob:
    return make_job(idempotency_key=key, idempotency_hash=request, **overrides)


async def count_jobs(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM analysis_jobs"))


async def test_the_answers_come_in_the_order_of_the_jobs(
    store: JobStore, connection: Connection
) -> None:
    jobs = [make_job(priority=1 + n % 10, input_json=f'{{"n": {n}}}') for n in range(40)]
    answers = await enqueue(store, *jobs)
    assert [(a.id, a.status, a.priority, a.disposition) for a in answers] == [
        (job.id, Status.PENDING, job.priority, "created") for job in jobs
    ]
    assert (await job_row(connection, jobs[7].id))["input_data"] == {"n": 7}
    await assert_invariant(connection)


async def test_no_job_is_no_statement(store: JobStore) -> None:
    assert await store.enqueue([]) == []


async def test_what_a_job_does_not_say_comes_from_its_type(
    store: JobStore, pool: Pool, connection: Connection
) -> None:
    info = JobTypeInfo("resize", queue="images", priority=8, timeout_seconds=12.5, max_retries=1)
    await JobTypeStore(pool).register([info])
    (answer,) = await enqueue(store, make_job(job_type="resize"))
    assert (answer.priority, answer.priority_reason) == (8, "default of the job type")
    row = await job_row(connection, answer.id)
    assert (row["queue"], row["timeout_seconds"], row["max_retries"]) == ("images", 12.5, 1)
    own = await enqueue_one(
        store, job_type="resize", queue="slow", timeout_seconds=1.0, max_retries=0, priority=2
    )
    row = await job_row(connection, own)
    assert (row["queue"], row["timeout_seconds"], row["max_retries"]) == ("slow", 1.0, 0)
    assert (row["priority"], row["priority_reason"]) == (2, "asked for")


async def test_a_job_of_an_unregistered_type_has_the_defaults_of_the_product(
    store: JobStore, connection: Connection
) -> None:
    row = await job_row(connection, await enqueue_one(store, job_type="unheard_of"))
    assert (row["queue"], row["timeout_seconds"], row["max_retries"]) == ("default", 600, 3)
    assert (row["priority"], row["priority_reason"]) == (5, "regular job")


async def test_a_job_for_later_waits_and_one_for_earlier_is_due(
    store: JobStore, connection: Connection
) -> None:
    later, delayed, earlier = await enqueue(
        store,
        make_job(run_at=at(minutes=5)),
        make_job(delay_seconds=300.0),
        make_job(run_at=at(minutes=-5)),
    )
    for answer in (later, delayed):
        row = await queue_row(connection, answer.id)
        assert row is not None
        assert not row["due"]
        assert 290 < (row["retry_after"] - answer.created_at).total_seconds() < 310
    assert (await job_row(connection, earlier.id))["retry_after"] is None
    assert [job.id for job in await claim(store, 9)] == [earlier.id]
    await assert_invariant(connection)


async def test_the_same_key_and_request_find_the_first_job(
    store: JobStore, connection: Connection
) -> None:
    user = uuid4()
    (first,) = await enqueue(store, keyed(user_id=user, priority=4))
    (again,) = await enqueue(store, keyed(user_id=user, priority=9))
    assert (again.id, again.disposition, again.priority) == (first.id, "existing", 4)
    assert again.created_at == first.created_at
    assert await count_jobs(connection) == 1


async def test_an_id_that_is_sent_again_finds_its_own_job(store: JobStore) -> None:
    job = keyed(user_id=uuid4())
    await enqueue(store, job)
    (again,) = await enqueue(store, job)
    assert (again.id, again.disposition) == (job.id, "existing")


async def test_the_same_key_with_another_request_is_a_conflict(store: JobStore) -> None:
    user = uuid4()
    (first,) = await enqueue(store, keyed(user_id=user))
    (other,) = await enqueue(store, keyed(user_id=user, request=b"another"))
    assert (other.id, other.disposition) == (first.id, "conflict")


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_a_key_finds_its_job_after_it_finished(store: JobStore, end: str) -> None:
    job = await make_running(store, idempotency_key="k1", idempotency_hash=b"same")
    match end:
        case "completed":
            await store.complete([(job, Completed())])
        case "failed":
            await store.fail([(job, Failed("X", "x", "permanent"))])
        case _:
            await cancel_run(store, job)
    (again,) = await enqueue(store, keyed())
    assert (again.id, again.disposition, again.status) == (job.id, "existing", end)


async def test_keys_belong_to_their_user_and_those_of_nobody_to_nobody(
    store: JobStore, connection: Connection
) -> None:
    users = [uuid4(), uuid4(), None]
    answers = await enqueue(store, *(keyed(user_id=user) for user in users))
    assert [answer.disposition for answer in answers] == ["created"] * 3
    again = await enqueue(store, *(keyed(user_id=user) for user in users))
    assert [answer.id for answer in again] == [answer.id for answer in answers]
    assert await count_jobs(connection) == 3


async def test_one_batch_may_hold_a_key_twice(store: JobStore) -> None:
    first, same, other, alone = await enqueue(
        store, keyed(), keyed(), keyed(request=b"another"), make_job()
    )
    assert (first.disposition, alone.disposition) == ("created", "created")
    assert (same.id, same.disposition) == (first.id, "existing")
    assert (other.id, other.disposition) == (first.id, "conflict")


async def test_a_key_that_many_send_at_once_makes_one_job(
    store: JobStore, connection: Connection
) -> None:
    user = uuid4()
    batches = [[make_job(), keyed(user_id=user), make_job()] for _ in range(12)]
    answers = await asyncio.gather(*(store.enqueue(batch) for batch in batches))
    keys = [batch[1] for batch in answers]
    assert len({key.id for key in keys if isinstance(key, Enqueued)}) == 1
    found = sorted(key.disposition for key in keys if isinstance(key, Enqueued))
    assert found == ["created"] + ["existing"] * 11
    assert await count_jobs(connection) == 25
    await assert_invariant(connection)


async def test_a_bad_job_answers_for_itself_and_the_others_are_enqueued(
    store: JobStore, connection: Connection
) -> None:
    project = await insert_project(connection, uuid4())
    taken = await enqueue_one(store)
    jobs = [
        make_job(),
        make_job(project_id=uuid4()),
        make_job(project_id=project),
        make_job(input_json='{"a": "\\u0000"}'),
        make_job(input_json="{"),
        make_job(priority=11),
        make_job(job_type="Not A Type"),
        make_job(max_retries=-1),
        make_job(timeout_seconds=0.0),
        make_job(id=taken),
        make_job(priority=2**40),
        make_job(input_json='"\ud800"'),
        make_job(idempotency_key="k", idempotency_hash=None),
        make_job(input_json="[" * 50_000),
        make_job(),
    ]
    answers = await store.enqueue(jobs)
    refused = [
        (n, a.code, a.field) for n, a in enumerate(answers) if isinstance(a, JobRefusedError)
    ]
    assert refused == [
        (1, "project_not_found", "projectId"),
        (3, "input_not_storable", "inputData"),
        (4, "input_not_storable", "inputData"),
        (5, "constraint_violated", ""),
        (6, "constraint_violated", ""),
        (7, "constraint_violated", ""),
        (8, "constraint_violated", ""),
        (9, "constraint_violated", ""),
        (10, "input_not_storable", "inputData"),
        (11, "input_not_storable", "inputData"),
        (12, "constraint_violated", ""),
        (13, "input_not_storable", "inputData"),
    ]
    for n in (0, 2, 14):
        assert isinstance(answers[n], Enqueued)
    assert await count_jobs(connection) == 4
    await assert_invariant(connection)


@pytest.mark.parametrize("bad", [(), (1,)], ids=["all good", "one bad"])
async def test_inside_a_callers_transaction_everything_goes_with_it(
    store: JobStore, pool: Pool, connection: Connection, bad: Sequence[int]
) -> None:
    jobs = [make_job(priority=99 if n in bad else None) for n in range(3)]
    async with pool.acquire() as own:
        transaction = own.transaction()
        await transaction.start()
        await insert_project(own, uuid4())
        answers = await store.enqueue(jobs, connection=own)
        assert [isinstance(a, Enqueued) for a in answers] == [n not in bad for n in range(3)]
        assert await count_jobs(connection) == 0
        # The caller's transaction is as usable as before.
        assert await own.fetchval("SELECT count(*) FROM projects") == 1
        await transaction.rollback()
    assert await count_jobs(connection) == 0
    assert await connection.fetchval("SELECT count(*) FROM job_queue") == 0

    async with pool.acquire() as own, own.transaction():
        await store.enqueue(jobs, connection=own)
    assert await count_jobs(connection) == 3 - len(bad)
    await assert_invariant(connection)


async def test_a_plain_insert_after_an_enqueue_in_the_same_transaction_is_still_followed(
    store: JobStore, pool: Pool, connection: Connection
) -> None:
    async with pool.acquire() as own, own.transaction():
        await store.enqueue([make_job()], connection=own)
        await store.enqueue([make_job(priority=99), make_job()], connection=own)
        await own.execute(
            "INSERT INTO analysis_jobs (id, job_type) VALUES ($1, 'cleanup')", new_job_id()
        )
    await assert_invariant(connection)
    assert len(await claim(store, 9)) == 3


async def test_reading_what_was_enqueued_shows_everything_that_was_said(store: JobStore) -> None:
    user = uuid4()
    (answer,) = await enqueue(store, make_job(user_id=user, priority=2, queue="reports"))
    view = await store.get(answer.id, user_id=user)
    assert view is not None
    assert (view.status, view.queue, view.priority) == (Status.PENDING, "reports", 2)
    assert (view.retry_errors, view.result, view.started_at) == ([], None, None)
