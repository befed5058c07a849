"""Whatever search_path a role has, what is ours is in `public` and found there."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.conftest import connected
from wastewise_jobs.db.opening import Addresses, open_pool
from wastewise_jobs.db.schema.migrate import check_schema, migrate, plan, rollback
from wastewise_jobs.dsn import read_dsn
from wastewise_jobs.errors import DatabaseUnusableError
from wastewise_jobs.jobs.ids import new_job_id
from wastewise_jobs.jobs.model import NewJob
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.service.database import prepare_schema
from wastewise_jobs.settings import Settings

ELSEWHERE = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('public', 'information_schema') AND n.nspname !~ '^pg_'
UNION ALL
SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('public', 'information_schema') AND n.nspname !~ '^pg_'
"""
BOOKS = """
SELECT DISTINCT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname IN ('_yoyo_log', '_yoyo_migration', '_yoyo_version')
"""
WAYS = {
    "of the role": "ALTER ROLE {role} SET search_path = other, public",
    "of the role, without public": "ALTER ROLE {role} SET search_path = other",
    "of the role, empty": "ALTER ROLE {role} SET search_path = ''",
    "of the database": "ALTER DATABASE {database} SET search_path = other, public",
    "of a schema with its name": "CREATE SCHEMA {role}",
    "of the options": "?options=-csearch_path%3Dother",
    "of the address": "?search_path=other",
}


@asynccontextmanager
async def role_of(dsn: str, way: str = "") -> AsyncIterator[str]:
    """The address for a role of its own whose search_path is set in that way."""
    address = read_dsn(dsn)
    role = f"wwj_path_{secrets.token_hex(4)}"
    query = way if way.startswith("?") else ""
    async with connected(dsn) as connection:
        await connection.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'x'")
        await connection.execute("CREATE SCHEMA IF NOT EXISTS other")
        if way and not query:
            await connection.execute(way.format(role=role, database=f'"{address.database}"'))
    try:
        theirs = replace(address, user=role, password="x").of_database(address.database)
        yield theirs + query.replace("?", "&" if "?" in theirs else "?")
    finally:
        async with connected(dsn) as connection:
            await connection.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
            await connection.execute(f"DROP OWNED BY {role}")
            await connection.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("way", WAYS)
async def test_all_that_is_ours_is_in_public_whatever_the_search_path_is(
    empty_db: str, way: str
) -> None:
    settings = Settings(_env_file=None)
    async with role_of(empty_db, WAYS[way]) as dsn:
        addresses = Addresses(dsn, dsn)
        assert await prepare_schema(addresses, settings)
        async with connected(empty_db) as connection:
            assert await connection.fetch(ELSEWHERE) == []
            await check_schema(connection)
        assert await plan(dsn) == []
        async with open_pool(addresses, size=1) as pool:
            job = NewJob(id=new_job_id(), job_type="cleanup")
            await JobStore(pool).enqueue([job])
            assert await JobStore(pool).get(job.id, user_id=None) is not None
            await pool.execute("DELETE FROM public.analysis_jobs")
        assert await rollback(dsn, count=99)
        async with connected(empty_db) as connection:
            assert await connection.fetchval("SELECT to_regclass('public.schema_info')") is None


async def move_books(dsn: str) -> None:
    async with connected(dsn) as connection:
        for table in ("_yoyo_log", "_yoyo_migration", "_yoyo_version", "yoyo_lock"):
            await connection.execute(f"ALTER TABLE public.{table} SET SCHEMA other")


async def test_books_that_were_kept_elsewhere_are_read_there_and_taken_home(db: str) -> None:
    async with role_of(db, WAYS["of the role"]) as dsn:
        await move_books(db)
        # Nothing is to do, so nothing is moved.
        assert await migrate(dsn) == []
        async with connected(db) as connection:
            assert [row[0] for row in await connection.fetch(BOOKS)] == ["other"]
            await connection.execute("UPDATE public.schema_info SET post_apply_hash = 'older'")
        applied = await migrate(dsn)
        assert applied
        assert all(name.startswith("post-apply") for name in applied)
        async with connected(db) as connection:
            assert [row[0] for row in await connection.fetch(BOOKS)] == ["public"]
            assert await connection.fetch(ELSEWHERE) == []


async def test_books_of_somebody_else_are_left_alone(empty_db: str) -> None:
    async with connected(empty_db) as connection:
        await connection.execute("CREATE SCHEMA theirs")
        await connection.execute("CREATE TABLE theirs._yoyo_migration (migration_id text)")
        await connection.execute("INSERT INTO theirs._yoyo_migration VALUES ('0001_theirs')")
        before = await connection.fetchval("SELECT 'theirs._yoyo_migration'::regclass::oid")
        assert await migrate(empty_db)
        assert await connection.fetchval("SELECT 'theirs._yoyo_migration'::regclass::oid") == before


async def test_tables_of_ours_that_are_elsewhere_are_told_and_nothing_is_made_twice(
    db: str,
) -> None:
    async with role_of(db) as dsn:
        await move_books(db)
        async with connected(db) as connection:
            await connection.execute("ALTER TABLE public.schema_info SET SCHEMA other")
        with pytest.raises(
            DatabaseUnusableError, match=r"are in schema other, .* SET SCHEMA public"
        ):
            await migrate(dsn)


@pytest.mark.parametrize("may", [True, False])
async def test_a_schema_in_which_everybody_may_create_is_told_with_the_remedy(
    empty_db: str, *, may: bool, tmp_path: Path
) -> None:
    async with connected(empty_db) as connection:
        word = "GRANT CREATE ON SCHEMA public TO" if may else "REVOKE CREATE ON SCHEMA public FROM"
        await connection.execute(f"{word} PUBLIC")
    (tmp_path / "0001_nothing.sql").write_text("CREATE TABLE nothing (i int)")
    with capture_logs() as logs:
        await plan(empty_db, folder=tmp_path)
    told = [one for one in logs if one["event"] == "public_may_create"]
    assert len(told) == int(may)
    if may:
        assert told[0]["remedy"] == "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
