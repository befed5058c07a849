"""The database's own triggers write jobs while ours change: what they write is followed."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.conftest import connected
from tests.support.factories import (
    assert_invariant,
    claim,
    come_due,
    enqueue,
    enqueue_one,
    expire_leases,
    insert_project,
    job_row,
    make_job,
    rescue,
)
from wastewise_jobs.db.pool import Connection, Pool, create_pool, prepare_connection
from wastewise_jobs.db.schema.migrate import migrations_dir
from wastewise_jobs.jobs.model import ClaimedJob, Progress
from wastewise_jobs.jobs.outcome import Completed, Failed, RetryLater
from wastewise_jobs.jobs.store import JobStore

# What each does when a job of any other type changes.
BODIES = {
    "inserts": """
        INSERT INTO public.analysis_jobs (job_type, error_message) VALUES ('follow_up', {})""",
    "inserts and cancels": """
        INSERT INTO public.analysis_jobs (job_type, error_message) VALUES ('follow_up', {});
        UPDATE public.analysis_jobs SET priority = 2 WHERE job_type = 'follow_up';
        UPDATE public.analysis_jobs SET status = 'cancelled'
        WHERE job_type = 'bystander' AND status <> 'cancelled';
        UPDATE public.analysis_jobs SET status = 'failed', error_message = 'gave up'
        WHERE job_type = 'unlucky' AND status <> 'failed'""",
    "calls ours": """
        PERFORM public.enqueue_jobs(
            ARRAY[gen_random_uuid()], ARRAY['follow_up'], ARRAY['{{}}'], NULL, NULL, NULL, NULL,
            NULL, NULL, NULL, NULL, NULL, NULL);
        PERFORM public.cancel_job(j.id) FROM public.analysis_jobs j WHERE job_type = 'bystander';
        PERFORM {}""",
}
WATCH = """
CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {body};
    RETURN NEW;
END
$$;
CREATE TRIGGER {name} {when} ON public.analysis_jobs FOR EACH ROW
WHEN (NEW.job_type NOT IN ('follow_up', 'bystander', 'unlucky')) EXECUTE FUNCTION public.theirs()
"""
TRIGGERS = [
    (name, when, kind)
    for kind in BODIES
    for name in ("a_first", "z_last")
    for when in ("BEFORE INSERT OR UPDATE", "AFTER INSERT OR UPDATE")
]


@pytest.fixture
async def pool(db: str) -> AsyncIterator[Pool]:
    async with create_pool(db, max_size=4) as pool:
        yield pool


@pytest.fixture
async def connection(db: str) -> AsyncIterator[Connection]:
    async with connected(db) as connection:
        await prepare_connection(connection)
        yield connection


@pytest.mark.parametrize(("name", "when", "kind"), TRIGGERS)
async def test_what_their_trigger_writes_is_followed_in_every_transition(
    pool: Pool, connection: Connection, name: str, when: str, kind: str
) -> None:
    store = JobStore(pool)
    bystander = await enqueue_one(store, job_type="bystander")
    unlucky = await enqueue_one(store, job_type="unlucky")
    body = BODIES[kind].format("TG_OP")
    await connection.execute(WATCH.format(body=body, name=name, when=when))
    before = 0
    async for step in _whole_life(store, connection):
        await assert_invariant(connection)
        now = await connection.fetchval(
            "SELECT count(*) FROM analysis_jobs WHERE job_type = 'follow_up'"
        )
        assert now > before, step
        before = now
    assert (await job_row(connection, bystander))["status"] != "pending" or kind == "inserts"
    waiting = await claim(store, 500, job_types=["follow_up"])
    assert len(waiting) == before
    assert {job.max_retries for job in waiting} == {3}
    if kind == "inserts and cancels":
        await _assert_told_once(connection, unlucky)


async def _whole_life(store: JobStore, connection: Connection) -> AsyncIterator[str]:
    ids = [answer.id for answer in await enqueue(store, *(make_job() for _ in range(7)))]
    yield "enqueue"
    jobs = await claim(store, 7)
    # The fences that the workers hold are those of the rows.
    for job in jobs:
        assert (await job_row(connection, job.id))["fence"] == job.fence
    assert sorted(job.id for job in jobs) == sorted(ids)
    yield "claim"
    for step in _settling(store, jobs):
        await step[1]()
        yield step[0]
    await expire_leases(connection, jobs[5].id)
    assert [rescued.id for rescued in await rescue(store)] == [jobs[5].id]
    yield "rescue"
    await come_due(connection, jobs[1].id, jobs[5].id)
    assert await connection.fetchval("SELECT schedule_job_retry($1, 'no luck'::text)", jobs[6].id)
    yield "schedule_job_retry"
    assert await store.requeue(jobs[2].id, user_id=None) == "requeued"
    yield "requeue"
    assert await store.cancel(jobs[2].id, user_id=None) == "cancelled"
    yield "cancel"
    urgent = await enqueue_one(store, priority=1)
    yield "another enqueue"
    assert await connection.fetchval("SELECT get_next_job('rpc')") == urgent
    yield "get_next_job"


def _settling(store: JobStore, jobs: list[ClaimedJob]) -> list[tuple[str, Any]]:
    async def progress() -> None:
        assert await store.progress([(job, Progress(5, "x")) for job in jobs]) == {
            job.id for job in jobs
        }

    async def complete() -> None:
        assert await store.complete([(jobs[0], Completed("1"))]) == {jobs[0].id}

    async def retry() -> None:
        await store.retry([(jobs[1], RetryLater("X", "x", "retryable"))])

    async def fail() -> None:
        assert await store.fail([(jobs[2], Failed("X", "x", "permanent"))]) == {jobs[2].id}

    async def release() -> None:
        assert await store.release([jobs[3]]) == {jobs[3].id}

    async def cancel_running() -> None:
        assert await store.cancel(jobs[4].id, user_id=None) == "requested"
        assert await store.cancel_running([jobs[4]]) == {jobs[4].id}

    return [
        ("progress", progress),
        ("complete", complete),
        ("retry", retry),
        ("fail", fail),
        ("release", release),
        ("cancel_running", cancel_running),
    ]


async def _assert_told_once(connection: Connection, job_id: UUID) -> None:
    counted = await connection.fetchval(
        "SELECT sum(a.occurrences) FROM job_alerts a JOIN job_alert_jobs j ON j.alert_id = a.id "
        "WHERE j.job_id = $1",
        job_id,
    )
    assert counted == 1
    assert await connection.fetchval("SELECT count(*) FROM job_alert_failures") == 0


async def test_a_trigger_on_projects_that_our_mirror_changes_is_followed(
    pool: Pool, connection: Connection
) -> None:
    await connection.execute(
        """
        CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO public.analysis_jobs (job_type, project_id, user_id)
            VALUES ('follow_up', NEW.id, NEW.user_id);
            RETURN NEW;
        END
        $$;
        CREATE TRIGGER theirs AFTER UPDATE ON public.projects FOR EACH ROW
        EXECUTE FUNCTION public.theirs()
        """
    )
    user_id = uuid4()
    project_id = await insert_project(connection, user_id, status="processing")
    store = JobStore(pool)
    await enqueue_one(store, user_id=user_id, project_id=project_id)
    (job,) = await claim(store)
    assert await store.fail([(job, Failed("X", "x", "permanent"))]) == {job.id}
    await assert_invariant(connection)
    assert len(await claim(store, 9, job_types=["follow_up"])) == 1


async def test_a_batch_goes_on_as_a_transition_after_their_trigger_called_one(
    pool: Pool, connection: Connection
) -> None:
    """A function of ours that ends inside theirs does not end the one around it."""
    body = BODIES["calls ours"].format("TG_OP")
    await connection.execute(WATCH.format(body=body, name="a_first", when="BEFORE UPDATE"))
    store = JobStore(pool)
    ids = {answer.id for answer in await enqueue(store, *(make_job() for _ in range(5)))}
    jobs = await claim(store, 5, lease=timedelta(minutes=1))
    assert {job.id for job in jobs} == ids
    assert {job.fence for job in jobs} == {1}
    assert await store.fail([(job, Failed("X", "x", "permanent")) for job in jobs]) == ids
    occurrences = await connection.fetchval("SELECT sum(occurrences) FROM job_alerts")
    assert occurrences == 5
    await assert_invariant(connection)


def test_each_transition_says_so_with_the_proof_and_at_its_depth() -> None:
    begin = (
        "PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, "
        "i.transition_key, true)"
    )
    end = "PERFORM set_config('wastewise.transition_' || pg_trigger_depth()::text, '', true);"
    texts = [path.read_text() for path in migrations_dir().glob("post-apply.*.sql")]
    said = [line.strip() for text in texts for line in text.splitlines() if "set_config('w" in line]
    drop = (
        "PERFORM set_config('wastewise.transition_' || (pg_trigger_depth() - 1)::text, '', true);"
    )
    assert set(said) == {begin, end, drop}
    assert sum(line == begin for line in said) >= 13
