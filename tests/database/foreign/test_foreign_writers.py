"""What a user with SQL in hand tries, on a database that its own front end writes."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.conftest import connected
from tests.support.factories import (
    assert_invariant,
    claim,
    enqueue_one,
    insert_plainly,
    job_row,
    queue_row,
)
from tests.support.foreign import (
    MALLORY,
    OWN_PROJECT,
    VICTIM,
    VICTIMS_PROJECT,
    acting_as,
    adopted_database,
    assert_everybody_is_served,
)
from wastewise_jobs.db.pool import Connection, Pool, create_pool
from wastewise_jobs.jobs.model import JobTypeInfo
from wastewise_jobs.jobs.outcome import Completed, Failed
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.jobs.types import JobTypeStore
from wastewise_jobs.projects.analysis_store import AnalysisStore
from wastewise_jobs.projects.store import ProjectStore

LAX = """
CREATE POLICY anything ON analysis_jobs TO authenticated, anon USING (true) WITH CHECK (true);
CREATE POLICY any_project ON projects TO authenticated, anon USING (true) WITH CHECK (true);
CREATE POLICY any_file ON project_files TO authenticated, anon USING (true) WITH CHECK (true)
"""
OWN = {"user_id": MALLORY, "project_id": OWN_PROJECT}


@pytest.fixture(scope="module")
async def front_end(postgres: str, supabase_roles: None) -> AsyncIterator[str]:
    del supabase_roles
    async with adopted_database(postgres) as dsn:
        yield dsn


@pytest.fixture(scope="module")
async def lax(postgres: str, supabase_roles: None) -> AsyncIterator[str]:
    """One whose policies let everybody at every row."""
    del supabase_roles
    async with adopted_database(postgres, changes=LAX) as dsn:
        yield dsn


@pytest.fixture
async def owner(front_end: str) -> AsyncIterator[Connection]:
    async with connected(front_end) as connection:
        yield connection
        await connection.execute("DELETE FROM analysis_jobs; DELETE FROM job_types")


@pytest.fixture
async def careless(lax: str) -> AsyncIterator[Connection]:
    async with connected(lax) as connection:
        yield connection
        await connection.execute("DELETE FROM analysis_jobs; DELETE FROM job_types")


@pytest.fixture
async def pool(front_end: str) -> AsyncIterator[Pool]:
    async with create_pool(front_end, max_size=4) as pool:
        yield pool


async def refused(connection: Connection, statement: str, *values: object) -> str:
    """The words with which the statement is refused to Mallory."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError) as refusal:
        async with acting_as(connection, "authenticated", MALLORY):
            await connection.execute(statement, *values)
    return str(refusal.value)


async def insert_as_mallory(connection: Connection, **columns: Any) -> UUID:
    async with acting_as(connection, "authenticated", MALLORY):
        return await insert_plainly(connection, **(OWN | columns))


async def test_a_users_job_is_run_and_its_result_is_the_users(
    owner: Connection, pool: Pool
) -> None:
    job_id = await insert_as_mallory(owner, input_data='{"n": 1}', priority=2)
    store = JobStore(pool)
    (job,) = await claim(store)
    assert (job.id, job.priority, job.input_json, job.max_retries) == (job_id, 2, '{"n": 1}', 3)
    assert await store.complete([(job, Completed("1"))]) == {job_id}
    await assert_everybody_is_served(owner, pool)


async def test_a_user_may_cancel_requeue_and_change_what_waits(
    owner: Connection, pool: Pool
) -> None:
    store = JobStore(pool)
    job_id = await insert_as_mallory(owner)
    mine = "UPDATE analysis_jobs SET {} WHERE id = $1"
    for change in ("priority = 1", "input_data = '{\"n\": 2}'", "status = 'cancelled'"):
        async with acting_as(owner, "authenticated", MALLORY):
            await owner.execute(mine.format(change), job_id)
    row = await job_row(owner, job_id)
    assert (row["status"], row["priority"], row["priority_reason"]) == ("cancelled", 1, "asked for")
    assert row["completed_at"] is not None
    async with acting_as(owner, "authenticated", MALLORY):
        await owner.execute(mine.format("status = 'pending'"), job_id)
    (job,) = await claim(store)
    assert (job.id, job.input_json) == (job_id, '{"n": 2}')
    async with acting_as(owner, "authenticated", MALLORY):
        await owner.execute(mine.format("status = 'cancelled'"), job_id)
    assert await store.complete([(job, Completed("1"))]) == set()
    async with acting_as(owner, "authenticated", MALLORY):
        await owner.execute(mine.format("status = 'pending', priority = 9"), job_id)
    (job,) = await claim(store)
    assert await store.fail([(job, Failed("X", "x", "permanent"))]) == {job_id}
    async with acting_as(owner, "authenticated", MALLORY):
        await owner.execute(
            mine.format("status = 'pending', error_message = NULL, retry_count = 0"), job_id
        )
    row = await job_row(owner, job_id)
    assert (row["status"], row["error_code"], row["completed_at"]) == ("pending", None, None)
    await assert_everybody_is_served(owner, pool)


async def test_a_user_may_delete_its_own_jobs_and_no_others(owner: Connection, pool: Pool) -> None:
    theirs = await enqueue_one(JobStore(pool), user_id=VICTIM, project_id=VICTIMS_PROJECT)
    mine = await insert_as_mallory(owner)
    async with acting_as(owner, "authenticated", MALLORY):
        await owner.execute("DELETE FROM analysis_jobs")
    assert await queue_row(owner, mine) is None
    assert await queue_row(owner, theirs) is not None
    await assert_invariant(owner)


async def test_columns_of_their_own_are_their_own_affair(owner: Connection) -> None:
    await owner.execute("ALTER TABLE analysis_jobs ADD COLUMN IF NOT EXISTS label text")
    job_id = await insert_as_mallory(owner, label="a")
    async with acting_as(owner, "authenticated", MALLORY):
        await owner.execute("UPDATE analysis_jobs SET label = 'b' WHERE id = $1", job_id)
    assert (await job_row(owner, job_id))["label"] == "b"
    await owner.execute("ALTER TABLE analysis_jobs DROP COLUMN label")


@pytest.mark.parametrize("job_type", ["cleanup", "sweep"])
async def test_only_the_service_asks_for_what_touches_everybody(
    owner: Connection, pool: Pool, job_type: str
) -> None:
    await JobTypeStore(pool).register([JobTypeInfo("sweep", admin_only=True)])
    words = await refused(
        owner, "INSERT INTO analysis_jobs (user_id, job_type) VALUES ($1, $2)", MALLORY, job_type
    )
    assert "admins" in words
    # One of their own that the service made: it may be cancelled, and not sent round again.
    job_id = await enqueue_one(JobStore(pool), job_type=job_type, user_id=MALLORY)
    await refused(owner, "UPDATE analysis_jobs SET input_data = '{\"a\": 1}'")
    async with acting_as(owner, "authenticated", MALLORY):
        await owner.execute("UPDATE analysis_jobs SET status = 'cancelled'")
    await refused(owner, "UPDATE analysis_jobs SET status = 'pending'")
    assert (await job_row(owner, job_id))["status"] == "cancelled"


async def test_a_job_made_before_its_type_was_known_does_not_outlive_the_registration(
    owner: Connection, pool: Pool
) -> None:
    foreign = await insert_as_mallory(owner, job_type="sweep")
    ours = await enqueue_one(JobStore(pool), job_type="sweep")
    types = JobTypeStore(pool)
    await types.register([JobTypeInfo("sweep")])
    assert (await job_row(owner, foreign))["status"] == "pending"
    await types.register([JobTypeInfo("sweep", admin_only=True)])
    row = await job_row(owner, foreign)
    assert (row["status"], row["error_code"]) == ("failed", "FORBIDDEN")
    assert (await job_row(owner, ours))["status"] == "pending"
    await assert_invariant(owner)


@pytest.mark.parametrize("project_id", [VICTIMS_PROJECT, UUID(int=7)])
async def test_somebody_elses_project_is_refused_like_a_missing_one(
    owner: Connection, project_id: UUID
) -> None:
    statement = (
        "INSERT INTO analysis_jobs (user_id, project_id, job_type) "
        "VALUES ($1, $2, 'complete_analysis')"
    )
    words = await refused(owner, statement, MALLORY, project_id)
    assert words == f"the job's user has no project {project_id}"


@pytest.mark.parametrize("role", ["authenticated", "anon"])
async def test_careless_policies_do_not_make_a_user_somebody_else(
    careless: Connection, role: str
) -> None:
    statement = (
        "INSERT INTO analysis_jobs (user_id, project_id, job_type) "
        "VALUES ($1, $2, 'complete_analysis')"
    )
    for user_id, project_id in ((VICTIM, VICTIMS_PROJECT), (VICTIM, None), (None, VICTIMS_PROJECT)):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with acting_as(careless, role, MALLORY):
                await careless.execute(statement, user_id, project_id)
    # Somebody who is nobody.
    await careless.execute('SET request.jwt.claims = \'{"role": "anon"}\'')
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with acting_as(careless, role):
            await careless.execute(statement, VICTIM, None)
    assert await careless.fetchval("SELECT count(*) FROM analysis_jobs") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE projects SET user_id = '{victim}' WHERE id = '{own}'",
        "UPDATE projects SET user_id = '{mallory}' WHERE id = '{theirs}'",
        "UPDATE projects SET id = gen_random_uuid() WHERE id = '{theirs}'",
        """
        INSERT INTO projects (user_id, property_name, units, city, state)
        VALUES ('{victim}', 'a', 50, 'b', 'c')
        """,
        """
        INSERT INTO project_files (project_id, file_name, file_type)
        VALUES ('{theirs}', 'a', 'other')
        """,
        "UPDATE project_files SET project_id = '{theirs}'",
        "TRUNCATE analysis_jobs CASCADE",
        "TRUNCATE projects CASCADE",
        "TRUNCATE project_files CASCADE",
    ],
)
async def test_what_belongs_to_whom_is_not_for_users_to_say(
    careless: Connection, statement: str
) -> None:
    await refused(
        careless,
        statement.format(victim=VICTIM, mallory=MALLORY, own=OWN_PROJECT, theirs=VICTIMS_PROJECT),
    )


@pytest.mark.parametrize("role", ["authenticated", "postgres", "service_role"])
async def test_projects_and_files_stay_within_bounds(
    owner: Connection, pool: Pool, role: str
) -> None:
    project_id = uuid4()
    long = "x" * 3_000_000
    async with acting_as(owner, role, MALLORY):
        await owner.execute(
            "INSERT INTO projects (id, user_id, property_name, units, city, state, property_type,"
            " equipment_type, error_message, total_savings, progress, created_at, updated_at)"
            " VALUES ($1, $2, $3, 50, $3, $3, $3, $3, $3, 'NaN', 2147483647, 'infinity',"
            " '-infinity')",
            project_id,
            MALLORY,
            long,
        )
        for savings in ("'Infinity'", "1e100000", "-1e100000"):
            await owner.execute(
                f"UPDATE projects SET total_savings = {savings} WHERE id = $1",  # noqa: S608
                project_id,
            )
        await owner.execute(
            "INSERT INTO project_files (project_id, file_name, file_type, file_size, mime_type,"
            " storage_path, processing_status, processing_error, uploaded_at)"
            " VALUES ($1, $2, 'other', -1, $2, $2, $2, $2, '4713-01-01 BC')",
            project_id,
            long,
        )
    store = ProjectStore(pool)
    projects = await store.list_projects(user_id=None, limit=50)
    assert project_id in {project.id for project in projects}
    assert all(len(repr(project)) < 4000 for project in projects)
    (file,) = await store.list_files(project_id, user_id=MALLORY) or []
    assert len(repr(file)) < 2000
    assert await store.delete(project_id, user_id=MALLORY) == "deleted"


async def test_a_planted_job_neither_feeds_nor_blocks_nor_marks_somebodys_project(
    owner: Connection, pool: Pool
) -> None:
    """Rows from before anybody looked: the owner's write stands for them."""
    planted = await insert_plainly(
        owner,
        user_id=MALLORY,
        project_id=VICTIMS_PROJECT,
        status="completed",
        result_data='{"summary": "planted"}',
    )
    projects = AnalysisStore(pool)
    assert await projects.latest_analysis(VICTIMS_PROJECT, None, user_id=VICTIM) is None
    assert await projects.latest_analysis(VICTIMS_PROJECT, planted, user_id=VICTIM) is None
    assert await projects.latest_analysis(VICTIMS_PROJECT, planted, user_id=MALLORY) is None
    assert await projects.property_of(VICTIMS_PROJECT, user_id=MALLORY) is None
    assert await projects.files(VICTIMS_PROJECT, None, user_id=MALLORY, limit=9) == []
    await owner.execute("UPDATE projects SET status = 'processing' WHERE id = $1", VICTIMS_PROJECT)
    store = JobStore(pool)
    await insert_plainly(owner, user_id=MALLORY, project_id=VICTIMS_PROJECT)
    (job,) = await claim(store)
    assert await store.fail([(job, Failed("X", "planted", "permanent"))]) == {job.id}
    status = await owner.fetchval("SELECT status FROM projects WHERE id = $1", VICTIMS_PROJECT)
    assert status == "processing"
    await insert_plainly(owner, user_id=MALLORY, project_id=VICTIMS_PROJECT)
    async with owner.transaction():
        copy = uuid4()
        await owner.execute(
            "INSERT INTO projects (id, user_id, property_name, units, city, state) "
            "VALUES ($1, $2, 'a', 50, 'b', 'c')",
            copy,
            VICTIM,
        )
        await owner.execute("UPDATE analysis_jobs SET project_id = $1", copy)
    assert await ProjectStore(pool).delete(copy, user_id=VICTIM) == "deleted"


async def test_a_type_registered_without_retries_has_none_in_a_plain_insert(
    owner: Connection, pool: Pool
) -> None:
    info = JobTypeInfo("once", queue="q", priority=8, timeout_seconds=5, max_retries=0)
    await JobTypeStore(pool).register([info])
    for job_id in (
        await insert_as_mallory(owner, job_type="once"),
        await insert_plainly(owner, job_type="once"),
        await insert_plainly(owner, job_type="once", max_retries=None, priority=None),
    ):
        row = await job_row(owner, job_id)
        assert (row["max_retries"], row["priority"], row["queue"], row["timeout_seconds"]) == (
            0,
            8,
            "q",
            5,
        )


@pytest.mark.parametrize("role", ["postgres", "service_role"])
async def test_an_operators_worker_finishes_a_job_by_a_plain_update(
    owner: Connection, pool: Pool, role: str
) -> None:
    store = JobStore(pool)
    job_id = await insert_as_mallory(owner)
    (job,) = await claim(store)
    async with acting_as(owner, role):
        await owner.execute(
            "UPDATE analysis_jobs SET status = 'completed', result_data = '{\"ok\": true}',"
            " ai_requests = 2, ai_tokens_input = 10, ai_cost_usd = 0.5, duration_seconds = 3,"
            " completed_at = now(), fence = 9223372036854775807 WHERE id = $1",
            job_id,
        )
    row = await job_row(owner, job_id)
    assert (row["status"], row["ai_requests"], row["duration_seconds"]) == ("completed", 2, 3)
    assert row["fence"] == job.fence + 1
    assert await store.complete([(job, Completed("1"))]) == set()
    await assert_everybody_is_served(owner, pool)
