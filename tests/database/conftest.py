"""What every test of the queue needs: our own pool, the store on it, one bare connection.

They share one database, emptied after each test: a clone for each costs more than most tests.
Tests that count scans or change the schema take `db` instead.
"""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import connected, database
from wastewise_jobs.db.pool import Connection, Pool, create_pool, prepare_connection
from wastewise_jobs.jobs.store import JobStore

CLEAN = """
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = current_database()
  AND pid <> pg_backend_pid()
  AND backend_type = 'client backend';

TRUNCATE analysis_jobs, projects, job_types, job_workers, api_keys, job_alerts, job_alert_channels,
    job_rollups, job_rollup_marks, job_prune_holds CASCADE;

UPDATE schema_info
SET rolled_up_until = NULL, round_due_at = now(), round_until = NULL, jobs_repaired = 0,
    jobs_astray = 0, queue_walked_to = NULL, jobs_walked_to = NULL
"""


@pytest.fixture(scope="session")
async def used_database(postgres: str, template: str, server_version: int) -> AsyncIterator[str]:
    async with database(postgres, template=template, version=server_version) as dsn:
        yield dsn


@pytest.fixture
async def queue_db(used_database: str) -> AsyncIterator[str]:
    """The DSN of a migrated database in which no job is."""
    yield used_database
    async with connected(used_database) as connection:
        await connection.execute(CLEAN)


@pytest.fixture
async def pool(queue_db: str) -> AsyncIterator[Pool]:
    async with create_pool(queue_db, max_size=20) as pool:
        yield pool


@pytest.fixture
def store(pool: Pool) -> JobStore:
    return JobStore(pool)


@pytest.fixture(scope="module")
async def supabase_roles(postgres: str, template: str) -> AsyncIterator[None]:
    """The roles that a Supabase server has; ours are gone again when the module ends."""
    # Migrated before them, so that no grant of its own keeps them from being dropped.
    del template
    async with connected(postgres) as connection:
        there = [row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles")]
        made = [role for role in ("anon", "authenticated", "service_role") if role not in there]
        for role in made:
            # Theirs bypasses row level security; what counts here is what it is granted.
            await connection.execute(f"CREATE ROLE {role} NOLOGIN")
    yield
    async with connected(postgres) as connection:
        for role in made:
            await connection.execute(f"DROP ROLE {role}")


@pytest.fixture
async def connection(queue_db: str) -> AsyncIterator[Connection]:
    """A superuser at psql: somebody who is not one of our processes."""
    async with connected(queue_db) as connection:
        await prepare_connection(connection)
        yield connection
