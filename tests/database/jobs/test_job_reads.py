import asyncio
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from tests.support.factories import (
    assert_invariant,
    at,
    claim,
    enqueue,
    enqueue_one,
    insert_plainly,
    insert_project,
    make_job,
    make_running,
    stored_report,
)
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.jobs.model import JobFilter, JobId, JobTypeInfo, Status
from wastewise_jobs.jobs.outcome import Completed, Failed
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.jobs.types import JobTypeStore
from wastewise_jobs.projects.analysis_store import AnalysisStore


async def ids(store: JobStore, limit: int = 50, **wanted: object) -> list[JobId]:
    return [job.id for job in await store.list_jobs(JobFilter(**wanted), limit=limit)]  # type: ignore[arg-type]


async def test_a_list_is_newest_first_and_pages_without_gaps_or_repeats(
    store: JobStore, connection: Connection
) -> None:
    # Jobs of one moment too: the id decides.
    moments = [at(minutes=-n // 3) for n in range(20)]
    made = [(moment, await insert_plainly(connection, created_at=moment)) for moment in moments]
    await connection.execute(
        "UPDATE analysis_jobs SET created_at = date_trunc('minute', created_at)"
    )
    rows = await connection.fetch("SELECT id FROM analysis_jobs ORDER BY created_at DESC, id DESC")
    found: list[JobId] = []
    before = None
    while page := await store.list_jobs(JobFilter(), limit=3, before=before):
        found += [job.id for job in page]
        before = (page[-1].created_at, page[-1].id)
    assert found == [row[0] for row in rows]
    assert len(found) == len(made)


@pytest.mark.parametrize("mine", [True, False], ids=["of a user", "of everybody"])
async def test_a_list_shows_what_its_filter_asks_for(
    store: JobStore,
    connection: Connection,
    mine: bool,  # noqa: FBT001
) -> None:
    user = uuid4()
    project = await insert_project(connection, user)
    first, report, other = await enqueue(
        store,
        make_job(user_id=user, project_id=project),
        make_job(user_id=user, job_type="report_generation"),
        make_job(user_id=uuid4()),
    )
    await store.cancel(report.id, user_id=None)
    user_id = user if mine else None
    everyone = [report.id, first.id] if mine else [other.id, report.id, first.id]
    assert await ids(store, user_id=user_id) == everyone
    assert await ids(store, limit=1, user_id=user_id) == everyone[:1]
    assert await ids(store, user_id=user_id, statuses=[Status.CANCELLED]) == [report.id]
    both = [Status.CANCELLED, Status.PENDING]
    assert await ids(store, user_id=user_id, statuses=both) == everyone
    assert await ids(store, user_id=user_id, job_type="report_generation") == [report.id]
    assert await ids(store, user_id=user_id, project_id=project) == [first.id]
    assert await ids(store, user_id=uuid4()) == []


async def test_a_list_brings_no_results_and_a_job_brings_its_own(store: JobStore) -> None:
    job = await make_running(store)
    await store.complete([(job, Completed('{"large": true}'))])
    (listed,) = await store.list_jobs(JobFilter(), limit=1)
    (viewed,) = await store.views([job.id, uuid4()])
    assert (listed.result, viewed.result) == (None, None)
    full = await store.get(job.id, user_id=None)
    assert full is not None
    assert full.result == {"large": True}


async def test_rows_are_replaced_and_paged_by_position(store: JobStore, pool: Pool) -> None:
    job_id = await enqueue_one(store)
    async with pool.acquire() as own, own.transaction():
        await AnalysisStore(own).save_rows(job_id, ['"old"'] * 9)
        await AnalysisStore(own).save_rows(job_id, [f'{{"n": {n}}}' for n in range(1, 8)])
    assert await AnalysisStore(pool).rows(job_id, after=0, limit=3) == [
        (n, {"n": n}) for n in (1, 2, 3)
    ]
    assert await AnalysisStore(pool).rows(job_id, after=3, limit=9) == [
        (n, {"n": n}) for n in (4, 5, 6, 7)
    ]
    assert await AnalysisStore(pool).rows(uuid4(), after=0, limit=9) == []


async def test_a_report_is_replaced_and_goes_with_its_job(
    store: JobStore, pool: Pool, connection: Connection
) -> None:
    job_id = await enqueue_one(store)
    async with pool.acquire() as own:
        await AnalysisStore(own).save_report(job_id, "html", b"first")
        await AnalysisStore(own).save_report(job_id, "html", b"\0second")
        with pytest.raises(asyncpg.CheckViolationError):
            await AnalysisStore(own).save_report(job_id, "pdf", b"x")
    assert await stored_report(pool, job_id, "html") == b"\0second"
    assert await stored_report(pool, job_id, "xlsx") is None
    await connection.execute("DELETE FROM analysis_jobs")
    assert await stored_report(pool, job_id, "html") is None


async def test_pruning_deletes_old_finished_jobs_a_batch_at_a_time(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(6)))
    jobs = await claim(store, 5)
    await store.complete([(job, Completed()) for job in jobs[:2]])
    await store.fail([(jobs[2], Failed("X", "x", "permanent"))])
    await connection.execute(
        "UPDATE analysis_jobs SET completed_at = completed_at - interval '40 days', "
        "created_at = created_at - interval '50 days' WHERE id = ANY ($1)",
        [job.id for job in jobs[1:4]],
    )
    month = timedelta(days=30)
    assert [await store.prune(month, 1) for _ in range(3)] == [1, 1, 0]
    assert await connection.fetchval("SELECT count(*) FROM analysis_jobs") == 4
    await assert_invariant(connection)


async def test_cleanup_old_analysis_jobs_is_called_as_before(
    store: JobStore, connection: Connection
) -> None:
    running = await make_running(store)
    for status in ("completed", "failed", "cancelled", "pending"):
        await insert_plainly(connection, status=status)
    # One that the front end finished without saying when.
    await connection.execute(
        "ALTER TABLE analysis_jobs DISABLE TRIGGER USER;"
        "UPDATE analysis_jobs SET completed_at = NULL, failed_at = NULL,"
        " created_at = created_at - interval '40 days', updated_at = now() - interval '40 days';"
        "ALTER TABLE analysis_jobs ENABLE TRIGGER USER"
    )
    assert await connection.fetchval("SELECT cleanup_old_analysis_jobs(days_to_keep => 45)") == 0
    assert await connection.fetchval("SELECT cleanup_old_analysis_jobs()") == 3
    left = await connection.fetch("SELECT status FROM analysis_jobs ORDER BY status")
    assert [row[0] for row in left] == ["pending", "processing"]
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await connection.fetchval("SELECT cleanup_old_analysis_jobs(-1)")
    assert await store.release([running]) == {running.id}


async def test_job_types_are_known_until_they_are_retired(pool: Pool) -> None:
    types = JobTypeStore(pool)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    resize = JobTypeInfo(
        "resize", "images", 2, 1.5, 0, "process", "Makes it fit", schema, needs_project=True
    )
    odd = JobTypeInfo("odd", refusal="needs a key")
    await types.register([resize, odd])
    assert await types.all() == {"odd": odd, "resize": resize}
    await types.register([JobTypeInfo("resize", "images")])
    assert (await types.all())["resize"] == JobTypeInfo("resize", "images")
    assert await types.retire("odd")
    assert not await types.retire("odd")
    assert set(await types.all()) == {"resize"}
    await types.register([odd])
    assert set(await types.all()) == {"odd", "resize"}
    await types.register([])


async def test_processes_that_register_the_same_types_at_once_do_not_deadlock(pool: Pool) -> None:
    types = JobTypeStore(pool)
    infos = [JobTypeInfo(f"type_{n}") for n in range(30)]
    await asyncio.gather(*(types.register(infos[::step]) for step in (1, -1, 2, -2) * 4))
    assert len(await types.all()) == 30
