"""Who may touch what, on a server with the roles and default privileges that Supabase has."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.conftest import connected, database
from tests.support.factories import LEASE, insert_plainly
from wastewise_jobs.db.pool import Connection
from wastewise_jobs.db.schema.migrate import migrate

GENEROUS = """
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT ALL ON SEQUENCES TO anon, authenticated, service_role
"""


@pytest.fixture(scope="module")
async def supabase(postgres: str, supabase_roles: None) -> AsyncIterator[str]:
    """The DSN of a migrated database in which these roles are given everything that is made."""
    del supabase_roles
    async with database(postgres) as dsn:
        async with connected(dsn) as connection:
            await connection.execute(GENEROUS)
        await migrate(dsn)
        yield dsn


@pytest.fixture
async def owner(supabase: str) -> AsyncIterator[Connection]:
    async with connected(supabase) as connection:
        yield connection


async def test_every_table_has_row_level_security(owner: Connection) -> None:
    without = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relkind IN ('r', 'p') AND NOT relrowsecurity"
    )
    assert [row[0] for row in without] == []
    found = await owner.fetchval(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relkind = 'r'"
    )
    assert found >= 12


@pytest.mark.parametrize("role", ["anon", "authenticated", "public"])
async def test_nothing_is_granted_on_any_table(owner: Connection, role: str) -> None:
    granted = await owner.fetch(
        """
        SELECT c.relname, a.privilege_type
        FROM pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        WHERE c.relnamespace = 'public'::regnamespace
          AND c.relkind IN ('r', 'p', 'v', 'm')
          AND a.grantee = CASE $1 WHEN 'public' THEN 0 ELSE to_regrole($1)::oid END
        """,
        role,
    )
    assert [tuple(row) for row in granted] == []


async def test_functions_are_for_the_service_alone(owner: Connection) -> None:
    functions = await owner.fetch(
        """
        SELECT
            p.oid::regprocedure::text AS name,
            has_function_privilege('anon', p.oid, 'EXECUTE') AS anon,
            has_function_privilege('authenticated', p.oid, 'EXECUTE') AS authenticated,
            has_function_privilege('service_role', p.oid, 'EXECUTE') AS service_role
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
        """
    )
    assert len(functions) > 25
    assert [f["name"] for f in functions if f["anon"] or f["authenticated"]] == []
    assert [f["name"] for f in functions if not f["service_role"]] == []


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT get_next_job('me')",
        "SELECT * FROM claim_jobs('me', NULL, NULL, 1, '30 s')",
        "SELECT complete_jobs(ARRAY[gen_random_uuid()], ARRAY[1], NULL)",
        "SELECT cancel_job(gen_random_uuid())",
        "SELECT assign_job_priority(gen_random_uuid(), 'cleanup')",
        "SELECT cleanup_old_analysis_jobs(0)",
        "SELECT * FROM analysis_jobs",
        "SELECT * FROM job_queue",
        "SELECT * FROM api_keys",
        "TRUNCATE analysis_jobs",
        "DELETE FROM _yoyo_migration",
    ],
)
async def test_the_roles_of_browsers_can_do_nothing(
    owner: Connection, role: str, statement: str
) -> None:
    await owner.execute(f"SET ROLE {role}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await owner.execute(statement)


async def test_the_service_can_claim_and_settle(owner: Connection) -> None:
    first = await insert_plainly(owner)
    second = await insert_plainly(owner)
    await owner.execute("SET ROLE service_role")
    assert await owner.fetchval("SELECT get_next_job('edge function')") == first
    (row,) = await owner.fetch(
        "SELECT id, fence FROM claim_jobs('edge function', NULL, NULL, 1, $1)", LEASE
    )
    assert row["id"] == second
    won = await owner.fetch("SELECT complete_jobs($1, $2, NULL)", [row["id"]], [row["fence"]])
    assert [w[0] for w in won] == [second]


async def test_a_user_who_is_given_the_jobs_table_still_gets_no_queue(owner: Connection) -> None:
    transaction = owner.transaction()
    await transaction.start()
    await owner.execute(
        "GRANT SELECT, INSERT, UPDATE ON analysis_jobs TO authenticated;"
        "CREATE POLICY everybody ON analysis_jobs TO authenticated USING (true) WITH CHECK (true);"
        "SET LOCAL ROLE authenticated"
    )
    job_id = await insert_plainly(owner, priority=2)
    await owner.execute("UPDATE analysis_jobs SET priority = 1 WHERE id = $1", job_id)
    await owner.execute("RESET ROLE")
    queued = await owner.fetchrow("SELECT priority, due FROM job_queue WHERE id = $1", job_id)
    assert queued is not None
    assert tuple(queued) == (1, True)
    await transaction.rollback()
