"""What a user may have at once, asked for over HTTP and written by others."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, get_args

import asyncpg
import pytest

from tests.support.api import ADA, ANN, BOB, PROJECT, Api, Reply, serving
from tests.support.factories import enqueue_one
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.db.quotas import set_quotas

FRONT_END = "quota_front_end"


@asynccontextmanager
async def limited(
    pool: Pool, *, projects: int = 0, stored_bytes: int = 0, pending_jobs: int = 0
) -> AsyncIterator[Api]:
    await set_quotas(pool, projects=projects, stored_bytes=stored_bytes, pending_jobs=pending_jobs)
    async with serving(pool, job_quota=pending_jobs > 0) as api:
        yield api


def refused(reply: Reply, quota: str, limit: int, used: int) -> bool:
    body = reply.json
    return (reply.status, reply.code, body["quota"], body["limit"], body["used"]) == (
        403,
        "quota_exceeded",
        quota,
        limit,
        used,
    )


async def test_projects_have_a_quota_for_all_but_admins(pool: Pool) -> None:
    async with limited(pool, projects=2) as api:
        replies = await asyncio.gather(*(api.post("/api/projects", PROJECT) for _ in range(6)))
        assert Counter(reply.status for reply in replies) == {201: 2, 403: 4}
        assert refused(await api.post("/api/projects", PROJECT), "projects", 2, 2)
        await api.new_project(user=BOB)
        for _ in range(3):
            await api.new_project(user=ADA, admin=True)
        project = (await api.get("/api/projects")).json["projects"][0]["id"]
        assert (await api.delete(f"/api/projects/{project}")).status == 204
        await api.new_project()


async def test_stored_bytes_have_a_quota(pool: Pool) -> None:
    async with limited(pool, stored_bytes=1000) as api:
        first, second = await api.new_project(), await api.new_project()

        async def put(project: str, name: str, size: int) -> Reply:
            path = f"/api/projects/{project}/files/{name}?fileType=invoice"
            return await api.put(path, b"x" * size)

        replies = await asyncio.gather(
            *(put(project, f"{n}", 300) for n in range(2) for project in (first, second))
        )
        assert Counter(reply.status for reply in replies) == {201: 3, 403: 1}
        assert refused(await put(first, "more", 101), "stored_bytes", 1000, 900)
        stored = [reply for reply in replies if reply.status == 201]
        path = stored[0].headers["Location"] + "?fileType=invoice"
        # What a file is replaced by counts only for what it is larger.
        assert (await api.put(path, b"x" * 400)).status == 200
        assert (await api.put(path, b"x" * 401)).status == 403
        assert (await api.put(path, b"x")).status == 200
        assert (await put(first, "more", 399)).status == 201


async def test_unfinished_jobs_have_a_quota_however_they_are_batched(pool: Pool) -> None:
    async with limited(pool, pending_jobs=5) as api:
        replies = await asyncio.gather(
            *(api.analyze() for _ in range(20)), *(api.analyze(user=BOB) for _ in range(3))
        )
        assert Counter(reply.status for reply in replies[:20]) == {201: 5, 403: 15}
        assert {reply.status for reply in replies[20:]} == {201}
        assert refused(await api.analyze(), "pending_jobs", 5, 5)
        for _ in range(7):
            await api.new_job(user=ADA, admin=True)
        job = next(reply for reply in replies[:20] if reply.status == 201).json["jobId"]
        assert (await api.delete(f"/api/jobs/{job}")).status == 200
        await api.new_job()
        assert (await api.analyze()).status == 403


async def test_two_services_let_in_no_more_than_one(pool: Pool) -> None:
    async with limited(pool, pending_jobs=5) as one, serving(pool, job_quota=True) as other:
        replies = await asyncio.gather(*(api.analyze() for _ in range(10) for api in (one, other)))
    assert Counter(reply.status for reply in replies) == {201: 5, 403: 15}


async def test_the_same_request_again_is_none_more(pool: Pool) -> None:
    async with limited(pool, pending_jobs=1) as api:
        assert (await api.analyze(idempotencyKey="k")).status == 201
        assert (await api.analyze(idempotencyKey="k")).status == 200
        assert (await api.analyze(idempotencyKey="other")).status == 403


async def test_a_retry_makes_one_more(pool: Pool) -> None:
    async with limited(pool, pending_jobs=2) as api:
        failed = await api.new_job()
        await pool.execute("UPDATE public.analysis_jobs SET status = 'failed'")
        running = [await api.new_job(), await api.new_job()]
        assert (await api.post(f"/api/jobs/{failed}/retry")).status == 403
        assert (await api.delete(f"/api/jobs/{running[0]}")).status == 200
        assert (await api.post(f"/api/jobs/{failed}/retry")).status == 200
        assert (await api.analyze()).status == 403


async def test_what_others_made_is_seen_within_a_minute(pool: Pool) -> None:
    async with limited(pool, pending_jobs=3) as api:
        await api.new_job()
        for _ in range(2):
            await enqueue_one(api.jobs, job_type="echo", user_id=ANN)
        await pool.execute("UPDATE public.quota_uses SET counted_at = now() - interval '2 min'")
        assert refused(await api.analyze(), "pending_jobs", 3, 3)


async def test_a_quota_that_was_off_counts_from_the_beginning(pool: Pool) -> None:
    async with limited(pool, pending_jobs=3) as api:
        await api.new_job()
    async with limited(pool) as api:
        for _ in range(5):
            await api.new_job()
    async with limited(pool, pending_jobs=3) as api:
        assert (await api.analyze()).status == 403


async def test_without_quotas_nobody_is_measured(api: Api) -> None:
    await api.new_project()
    await api.new_job()
    assert await api.pool.fetchval("SELECT count(*) FROM public.quota_uses") == 0


@pytest.fixture
async def front_end(pool: Pool) -> AsyncIterator[Connection]:
    """A role to which row level security applies, as PostgREST's."""
    await pool.execute(
        f"""
        DO $$ BEGIN CREATE ROLE {FRONT_END}; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
        GRANT USAGE ON SCHEMA public TO {FRONT_END};
        GRANT SELECT, INSERT, UPDATE ON public.projects, public.analysis_jobs TO {FRONT_END};
        CREATE POLICY everything ON public.projects TO {FRONT_END} USING (true);
        CREATE POLICY everything ON public.analysis_jobs TO {FRONT_END} USING (true);
        """
    )
    async with pool.acquire() as connection:
        await connection.execute(f"SET ROLE {FRONT_END}")
        yield connection
        await connection.execute("RESET ROLE")


NEW_PROJECTS = """
INSERT INTO public.projects (user_id, property_name, units, city, state)
SELECT $1, 'Oak Court', 200, 'Austin', 'TX' FROM generate_series(1, $2)
"""
NEW_JOBS = """
INSERT INTO public.analysis_jobs (user_id, job_type, status)
SELECT $1, 'echo', $3 FROM generate_series(1, $2)
"""


async def test_foreign_writers_obey_too(pool: Pool, front_end: Connection) -> None:
    await set_quotas(pool, projects=2, stored_bytes=0, pending_jobs=2)
    await front_end.execute(NEW_PROJECTS, ANN, 2)
    await front_end.execute(NEW_JOBS, ANN, 1, "pending")
    refusals = []
    for statement, more in ((NEW_PROJECTS, ()), (NEW_JOBS, ("pending",))):
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as refusal:
            await front_end.execute(statement, ANN, 2, *more)
        refusals.append(str(refusal.value.args[0]))
    assert refusals == [
        "quota_exceeded: 2 of at most 2 projects",
        "quota_exceeded: 2 of at most 2 pending jobs",
    ]
    await front_end.execute(NEW_JOBS, ANN, 1, "pending")
    await front_end.execute(NEW_PROJECTS, BOB, 1)
    # It is the service's, and no foreign writer's, to exceed them.
    await pool.execute(NEW_PROJECTS, ANN, 3)


async def test_a_foreign_writer_sends_no_more_round_again_than_it_may_have(
    pool: Pool, front_end: Connection
) -> None:
    await set_quotas(pool, projects=0, stored_bytes=0, pending_jobs=2)
    for _ in range(3):
        await front_end.execute(NEW_JOBS, ANN, 2, "pending")
        await front_end.execute("UPDATE public.analysis_jobs SET status = 'cancelled'")
        await pool.execute("UPDATE public.quota_uses SET jobs = NULL")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="2 of at most 2 pending jobs"):
        await front_end.execute("UPDATE public.analysis_jobs SET status = 'pending'")
    again = """
        UPDATE public.analysis_jobs SET status = 'pending'
        WHERE id = (SELECT id FROM public.analysis_jobs WHERE status = 'cancelled' LIMIT 1)
    """
    assert [await front_end.execute(again) for _ in range(2)] == ["UPDATE 1"] * 2
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await front_end.execute(again)


Isolation = Literal["read_committed", "repeatable_read", "serializable"]


@pytest.mark.parametrize("isolation", get_args(Isolation))
async def test_two_foreign_writers_at_once_do_not_both_pass(
    pool: Pool, front_end: Connection, isolation: Isolation
) -> None:
    await set_quotas(pool, projects=1, stored_bytes=0, pending_jobs=1)
    async with pool.acquire() as other:
        await other.execute(f"SET ROLE {FRONT_END}")
        for statement, more in ((NEW_PROJECTS, ()), (NEW_JOBS, ("pending",))):
            first = front_end.transaction(isolation=isolation)
            second = other.transaction(isolation=isolation)
            await first.start()
            await second.start()
            # Its snapshot is older than what the first one commits.
            await other.fetchval("SELECT count(*) FROM public.projects")
            await front_end.execute(statement, ANN, 1, *more)
            waiting = asyncio.create_task(other.execute(statement, ANN, 1, *more))
            await asyncio.sleep(0)
            await first.commit()
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.SerializationError)):
                await waiting
            await second.rollback()
        await other.execute("RESET ROLE")
