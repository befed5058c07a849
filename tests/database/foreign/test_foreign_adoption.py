"""Rows that were written before anybody kept them within bounds are mended when we come."""

import pytest

from tests.conftest import connected
from tests.support.foreign import (
    MALLORY,
    OWN_PROJECT,
    VICTIM,
    VICTIMS_PROJECT,
    adopted_database,
    assert_everybody_is_served,
)
from wastewise_jobs.db.pool import create_pool
from wastewise_jobs.db.schema.files import read_files
from wastewise_jobs.db.schema.migrate import migrate, migrations_dir, rollback
from wastewise_jobs.jobs.model import JobFilter
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.projects.store import ProjectStore

# In the columns that an existing database has, or had from an earlier release of ours.
WRITTEN_BEFORE = """
SET session_replication_role = replica;
INSERT INTO analysis_jobs (user_id, project_id, job_type, status, queue, timeout_seconds, fence,
    created_at, retry_after, started_at, completed_at, failed_at, error_message, current_step,
    worker_id, retry_count, ai_requests)
SELECT $user, $project, 'complete_analysis', s, 'default', 600, 9223372036854775807, t, t, t, t, t,
    repeat('x', 3000000), repeat('x', 3000000), repeat('x', 3000000), 2147483647, 2147483647
FROM unnest(ARRAY['pending', 'processing', 'completed', 'failed', 'cancelled']) AS s
CROSS JOIN unnest(ARRAY[
    'infinity', '-infinity', '4713-01-01 BC', '12000-01-01', '294276-12-31'
]::timestamptz[]) AS t;
INSERT INTO analysis_jobs (user_id, job_type, status, queue, timeout_seconds)
VALUES ($user, 'cleanup', 'pending', 'default', 600);
UPDATE projects SET property_name = repeat('x', 3000000), total_savings = 'NaN',
    created_at = 'infinity', progress = 2147483647 WHERE id = $project;
INSERT INTO project_files (project_id, file_name, file_type, uploaded_at)
VALUES ($project, repeat('x', 2000), 'other', '-infinity');
RESET session_replication_role
"""


async def back_to_before(dsn: str) -> None:
    numbered = read_files(migrations_dir()).numbered
    undone = [name for name in numbered if name >= "0010"]
    assert (await rollback(dsn, count=len(undone)))[-1] == "0010_foreign_writers"


@pytest.mark.usefixtures("supabase_roles")
async def test_rows_from_before_are_brought_within_bounds(postgres: str) -> None:
    async with adopted_database(postgres) as dsn:
        await back_to_before(dsn)
        written = WRITTEN_BEFORE.replace("$user", f"'{MALLORY}'").replace(
            "$project", f"'{OWN_PROJECT}'"
        )
        async with connected(dsn) as connection:
            await connection.execute(written)
        await migrate(dsn)
        async with connected(dsn) as connection, create_pool(dsn, max_size=4) as pool:
            await assert_everybody_is_served(connection, pool)
            store = JobStore(pool)
            views = await store.list_jobs(JobFilter(), limit=50)
            assert sum(view.user_id == MALLORY for view in views) >= 15
            # Whoever asked for it, it was nobody we know.
            (cleanup,) = [view for view in views if view.job_type == "cleanup"]
            assert await store.is_foreign(cleanup.id)
            projects = await ProjectStore(pool).list_projects(user_id=None, limit=9)
            assert {project.id for project in projects} == {OWN_PROJECT, VICTIMS_PROJECT}
            assert all(len(repr(project)) < 2000 for project in projects)
            (old, *_) = await ProjectStore(pool).list_files(OWN_PROJECT, user_id=MALLORY) or []
            assert len(old.file_name) <= 255
            assert await connection.fetchval("SELECT max(fence) < 1e16 FROM analysis_jobs")
            assert await ProjectStore(pool).get(VICTIMS_PROJECT, user_id=VICTIM) is not None


async def test_a_rollback_restores_the_defaults(db: str) -> None:
    defaults = (
        "SELECT attname, pg_get_expr(adbin, adrelid) FROM pg_attrdef d "
        "JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum "
        "WHERE adrelid = 'analysis_jobs'::regclass AND attname = ANY ($1) ORDER BY 1"
    )
    filled = ["max_retries", "priority", "queue", "timeout_seconds"]
    async with connected(db) as connection:
        assert await connection.fetch(defaults, filled) == []
        await back_to_before(db)
        found = await connection.fetch(defaults, filled)
        assert [tuple(row) for row in found] == [("max_retries", "3"), ("priority", "5")]
        await migrate(db)
        assert await connection.fetch(defaults, filled) == []
