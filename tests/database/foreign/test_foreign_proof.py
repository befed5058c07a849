"""What says that a write is ours cannot be said by anybody else."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from tests.conftest import connected
from tests.support.factories import assert_invariant, insert_plainly, queue_row
from tests.support.foreign import (
    MALLORY,
    OWN_PROJECT,
    acting_as,
    adopted_database,
    assert_everybody_is_served,
)
from wastewise_jobs.db.pool import Connection, Pool, create_pool

OWN = {"user_id": MALLORY, "project_id": OWN_PROJECT}


@pytest.fixture(scope="module")
async def front_end(postgres: str, supabase_roles: None) -> AsyncIterator[str]:
    del supabase_roles
    async with adopted_database(postgres) as dsn:
        yield dsn


@pytest.fixture
async def owner(front_end: str) -> AsyncIterator[Connection]:
    async with connected(front_end) as connection:
        yield connection
        await connection.execute("DELETE FROM analysis_jobs")


@pytest.fixture
async def pool(front_end: str) -> AsyncIterator[Pool]:
    async with create_pool(front_end, max_size=4) as pool:
        yield pool


FORGED = ("on", "0", "true", "", "x" * 64)
SETTINGS = (
    "wastewise.transition",
    "wastewise.transition_0",
    "wastewise.transition_1",
    "wastewise.transition_2",
    "wastewise.failures",
    "wastewise.ours",
)


async def forge(connection: Connection, value: str) -> None:
    for setting in SETTINGS:
        await connection.execute("SELECT set_config($1, $2, false)", setting, value)


@pytest.mark.parametrize("value", FORGED)
async def test_settings_that_anybody_may_set_prove_nothing(
    owner: Connection, pool: Pool, value: str
) -> None:
    async with acting_as(owner, "authenticated", MALLORY):
        await forge(owner, value)
        await insert_plainly(owner, **OWN, fence=2**63 - 1, status="processing", crash_count=2)
        failing = await insert_plainly(owner, **OWN)
        # In the middle of a statement too.
        await owner.execute(
            "UPDATE analysis_jobs SET input_data = jsonb_build_object('a', "
            "set_config('wastewise.transition_0', 'on', true)) WHERE id = $1",
            failing,
        )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with acting_as(owner, "authenticated", MALLORY):
            await owner.execute("UPDATE analysis_jobs SET fence = 5")
    await assert_invariant(owner)
    # Even an operator: what it runs under settings like these is followed.
    await owner.execute("UPDATE analysis_jobs SET status = 'failed' WHERE id = $1", failing)
    await insert_plainly(owner, **OWN, fence=2**63 - 1)
    await assert_invariant(owner)
    assert await owner.fetchval("SELECT count(*) FROM job_alert_jobs WHERE job_id = $1", failing)
    assert await owner.fetchval("SELECT max(fence) FROM analysis_jobs") < 10
    await assert_everybody_is_served(owner, pool)


@pytest.mark.parametrize("value", FORGED)
async def test_what_is_run_as_the_owner_for_a_user_is_followed_whatever_it_set(
    owner: Connection, pool: Pool, value: str
) -> None:
    async with acting_as(owner, "authenticated", MALLORY):
        await forge(owner, value)
        made = await owner.fetchval("SELECT follow_up('complete_analysis')")
    await assert_invariant(owner)
    assert await queue_row(owner, made) is not None
    await assert_everybody_is_served(owner, pool)


async def test_a_cascade_that_a_user_begins_leaves_nothing_in_the_queue(
    owner: Connection, pool: Pool
) -> None:
    project_id = uuid4()
    async with acting_as(owner, "authenticated", MALLORY):
        await owner.execute(
            "INSERT INTO projects (id, user_id, property_name, units, city, state) "
            "VALUES ($1, $2, 'a', 50, 'b', 'c')",
            project_id,
            MALLORY,
        )
        for _ in range(3):
            await insert_plainly(owner, user_id=MALLORY, project_id=project_id)
        await forge(owner, "on")
        await owner.execute("DELETE FROM projects WHERE id = $1", project_id)
    assert await owner.fetchval("SELECT count(*) FROM job_queue") == 0
    await assert_everybody_is_served(owner, pool)


async def test_the_proof_is_the_owners_alone(owner: Connection) -> None:
    for role in ("authenticated", "anon"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with acting_as(owner, role, MALLORY):
                await owner.execute("SELECT transition_key FROM schema_info")
    # Not left behind by a transition either, for whoever has the session next.
    await owner.execute("SELECT get_next_job('somebody')")
    left = await owner.fetchval("SELECT current_setting('wastewise.transition_0', true)")
    assert not left


@pytest.fixture(scope="module")
async def web_user(postgres: str, supabase_roles: None) -> AsyncIterator[str]:
    """A role of theirs that is called like no other, in a database where it is granted all."""
    del supabase_roles
    async with connected(postgres) as connection:
        await connection.execute("CREATE ROLE web_user NOLOGIN")
    granted = "GRANT ALL ON analysis_jobs, projects, project_files TO web_user, PUBLIC"
    async with adopted_database(postgres, changes=granted) as dsn:
        yield dsn
    async with connected(postgres) as connection:
        await connection.execute("DROP ROLE web_user")


@pytest.mark.parametrize("role", ["authenticated", "anon", "web_user"])
@pytest.mark.parametrize("table", ["analysis_jobs", "projects", "project_files", "job_alerts"])
async def test_nobody_hangs_code_on_what_our_functions_write(
    web_user: str, role: str, table: str
) -> None:
    async with connected(web_user) as connection:
        await connection.execute(
            f"SET ROLE {role}; "
            "CREATE FUNCTION pg_temp.take_over() RETURNS trigger LANGUAGE plpgsql "
            "AS 'BEGIN RETURN NEW; END'"
        )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                f"CREATE TRIGGER take_over BEFORE UPDATE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION pg_temp.take_over()"
            )
