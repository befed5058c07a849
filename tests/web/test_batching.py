"""Requests that arrive together go in together, and each is answered for itself."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from tests.support.api import ANN, BOB, NOBODYS_ID, Api
from tests.support.factories import make_job
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.errors import JobRefusedError
from wastewise_jobs.jobs.model import Enqueued, NewJob
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.projects.store import ProjectStore
from wastewise_jobs.web.api.batcher import EnqueueBatcher
from wastewise_jobs.web.http.problems import ProblemError


class Held(JobStore):
    """The real store, which can be held back and counts its statements."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.batches: list[int] = []
        self.go_on = asyncio.Event()
        self.failure: Exception | None = None

    async def enqueue(
        self, jobs: Sequence[NewJob], *, connection: Any = None
    ) -> list[Enqueued | JobRefusedError]:
        self.batches.append(len(jobs))
        await self.go_on.wait()
        if self.failure is not None:
            raise self.failure
        return await super().enqueue(jobs, connection=connection)


def batcher(pool: Pool, **options: Any) -> tuple[EnqueueBatcher, Held]:
    store = Held(pool)
    return EnqueueBatcher(store, ProjectStore(pool), pool, **options), store


def wanted(batch: EnqueueBatcher, count: int, **columns: Any) -> list["asyncio.Task[Enqueued]"]:
    return [
        asyncio.create_task(batch.enqueue(make_job(user_id=ANN, **columns), any_project=False))
        for _ in range(count)
    ]


async def test_what_arrives_while_a_batch_is_on_its_way_goes_in_one_statement(
    web_pool: Pool,
) -> None:
    batch, store = batcher(web_pool, most_in_batch=500)
    first = wanted(batch, 1)
    await eventually(lambda: store.batches == [1])
    rest = wanted(batch, 700)
    await asyncio.sleep(0)
    store.go_on.set()
    answers = await asyncio.gather(*first, *rest)
    assert store.batches == [1, 500, 200]
    assert {answer.disposition for answer in answers} == {"created"}
    assert len({answer.id for answer in answers}) == 701
    assert await web_pool.fetchval("SELECT count(*) FROM analysis_jobs") == 701


async def test_bad_ones_answer_for_themselves_and_the_others_commit(api: Api) -> None:
    theirs = await api.new_project(user=UUID(int=7))
    replies = await asyncio.gather(
        *(api.analyze(inputData={"n": n}) for n in range(20)),
        api.analyze(projectId=theirs),
        api.analyze(projectId=NOBODYS_ID),
        api.analyze(jobType="unheard_of"),
        api.analyze(priority=99),
    )
    assert [reply.status for reply in replies] == [201] * 20 + [404, 404, 400, 400]
    assert await api.pool.fetchval("SELECT count(*) FROM analysis_jobs") == 20


async def test_a_row_that_the_database_refuses_harms_only_itself(web_pool: Pool) -> None:
    batch, store = batcher(web_pool)
    first = wanted(batch, 1)
    await eventually(lambda: store.batches == [1])
    good = wanted(batch, 5)
    bad = wanted(batch, 1, queue="NOT A QUEUE")
    more = wanted(batch, 5)
    await asyncio.sleep(0)
    store.go_on.set()
    answers = await asyncio.gather(*first, *good, *more)
    assert {answer.disposition for answer in answers} == {"created"}
    with pytest.raises(JobRefusedError):
        await bad[0]
    assert await web_pool.fetchval("SELECT count(*) FROM analysis_jobs") == 11


async def test_the_same_key_twice_in_one_batch_makes_one_job(api: Api) -> None:
    replies = await asyncio.gather(
        *(api.analyze(idempotencyKey="k", inputData={"same": True}) for _ in range(20))
    )
    assert sorted(reply.status for reply in replies) == [200] * 19 + [201]
    assert len({reply.json["jobId"] for reply in replies}) == 1


async def test_a_client_that_gives_up_harms_nobody(web_pool: Pool) -> None:
    batch, store = batcher(web_pool)
    sent = wanted(batch, 1)
    await eventually(lambda: store.batches == [1])
    waiting = wanted(batch, 10)
    await asyncio.sleep(0)
    sent[0].cancel()
    waiting[3].cancel()
    await asyncio.sleep(0)
    store.go_on.set()
    answers = await asyncio.gather(*sent, *waiting, return_exceptions=True)
    assert sum(isinstance(answer, Enqueued) for answer in answers) == 9
    # The first was on its way already; the one that waited was not sent at all.
    assert store.batches == [1, 9]
    assert await web_pool.fetchval("SELECT count(*) FROM analysis_jobs") == 10


async def test_a_full_queue_refuses_instead_of_growing(web_pool: Pool) -> None:
    batch, store = batcher(web_pool, most_waiting=3)
    first = wanted(batch, 1)
    await eventually(lambda: store.batches == [1])
    waiting = wanted(batch, 3)
    await asyncio.sleep(0)
    with pytest.raises(ProblemError) as refused:
        await batch.enqueue(make_job(), any_project=False)
    assert (refused.value.refusal.status, refused.value.refusal.code) == (503, "overloaded")
    assert refused.value.refusal.retry_after_seconds == 1
    store.go_on.set()
    assert len(await asyncio.gather(*first, *waiting)) == 4


async def test_a_failed_batch_is_told_and_the_next_one_goes(web_pool: Pool) -> None:
    batch, store = batcher(web_pool)
    store.go_on.set()
    store.failure = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        await batch.enqueue(make_job(), any_project=False)
    store.failure = None
    assert (await batch.enqueue(make_job(), any_project=False)).disposition == "created"
    await batch.close()


async def test_closing_waits_for_what_was_accepted(web_pool: Pool) -> None:
    batch, store = batcher(web_pool)
    tasks = wanted(batch, 5)
    await eventually(lambda: store.batches != [])
    closing = asyncio.create_task(batch.close())
    await asyncio.sleep(0)
    assert not closing.done()
    store.go_on.set()
    await closing
    assert all(task.done() for task in tasks)


async def test_one_users_thousand_do_not_delay_anothers_one(web_pool: Pool) -> None:
    batch, store = batcher(web_pool, most_in_batch=10)
    first = wanted(batch, 1)
    await eventually(lambda: store.batches == [1])
    many = wanted(batch, 1000)
    await asyncio.sleep(0)
    one = asyncio.create_task(batch.enqueue(make_job(user_id=BOB)))
    await asyncio.sleep(0)
    store.go_on.set()
    await one
    assert sum(task.done() for task in many) <= 10
    await asyncio.gather(*first, *many)
    assert len(store.batches) == 1 + 101


async def test_what_waits_of_one_user_is_bounded_and_others_are_let_in(web_pool: Pool) -> None:
    batch, store = batcher(web_pool, most_of_user=3)
    first = wanted(batch, 1)
    await eventually(lambda: store.batches == [1])
    waiting = wanted(batch, 3)
    await asyncio.sleep(0)
    with pytest.raises(ProblemError, match="too many of your jobs"):
        await batch.enqueue(make_job(user_id=ANN))
    other = asyncio.create_task(batch.enqueue(make_job(user_id=BOB)))
    await asyncio.sleep(0)
    store.go_on.set()
    await asyncio.gather(*first, *waiting, other)
