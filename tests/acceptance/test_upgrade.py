"""From the previous release to this one and back, with rows in every status and both at work."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.conftest import connected
from tests.database.schema.schema_dump import WRITTEN, dump
from tests.support.commands import APP, BLANK, start
from tests.support.previous_release import install
from tests.support.waiting import Process, eventually, start_process
from wastewise_jobs.db.pool import Connection
from wastewise_jobs.db.schema.migrate import migrate, rollback

OWNER = UUID(int=7)
NEWEST_OF_THE_PREVIOUS = "0009_first_of_each_kind"

# One job in each state that the previous release knows, made by its own functions.
LIVES = """
INSERT INTO projects (id, user_id, property_name, units, city, state)
VALUES ('00000000-0000-0000-0000-00000000000a', $1, 'Oak', 200, 'Austin', 'TX');
"""
MADE_BY_FUNCTIONS = ("processing", "completed", "failed", "cancelled", "waiting")


@pytest.fixture
def previous(tmp_path: Path) -> str:
    return install(tmp_path)


@asynccontextmanager
async def started(
    python: str, *args: str, env: Mapping[str, str | None], cwd: Path
) -> AsyncIterator[Process]:
    async with start_process(
        "-m", "wastewise_jobs", *args, env=BLANK | dict(env), cwd=cwd, python=python
    ) as process:
        yield process


async def migrate_by(python: str, dsn: str, cwd: Path) -> None:
    async with started(python, "migrate", env={"DATABASE_URL": dsn}, cwd=cwd) as process:
        assert await process.ended(within=60) == 0, process.said()


async def make_lives(connection: Connection) -> dict[str, UUID]:
    """Ids by what they are."""
    ids = {name: uuid4() for name in ("pending", *MADE_BY_FUNCTIONS)}
    for name, job_id in ids.items():
        await connection.execute(
            "INSERT INTO analysis_jobs (id, job_type, user_id, input_data) "
            "VALUES ($1, 'report_generation', $2, '{\"a\": 1}')",
            job_id,
            OWNER,
        )
        if name in {"processing", "completed", "failed"}:
            assert await connection.fetchval("SELECT get_next_job('somebody')") == job_id
        if name == "waiting":
            assert await connection.fetchval("SELECT schedule_job_retry($1, 'down', 'X')", job_id)
        if name == "cancelled":
            assert await connection.fetchval("SELECT cancel_job($1)", job_id) == "cancelled"
        if name in {"completed", "failed"}:
            await connection.execute(
                "UPDATE analysis_jobs SET status = $2, error_message = 'why' WHERE id = $1",
                job_id,
                name,
            )
        if name == "pending":
            # Behind all that follow, so that none of the claims takes it.
            await connection.execute("UPDATE analysis_jobs SET priority = 10 WHERE id = $1", job_id)
    return ids


async def rows(connection: Connection) -> dict[UUID, dict[str, Any]]:
    found = await connection.fetch(
        "SELECT id, status, input_data, priority, retry_count, retry_after, error_message, "
        "completed_at, created_at, worker_id, user_id, fence FROM analysis_jobs"
    )
    return {row["id"]: dict(row) for row in found}


async def test_every_row_outlives_the_upgrade_and_the_way_back(
    previous: str, empty_db: str, tmp_path: Path
) -> None:
    await migrate_by(previous, empty_db, tmp_path)
    async with connected(empty_db) as connection:
        await connection.execute(LIVES.replace("$1", f"'{OWNER}'"))
        await make_lives(connection)
        before = await rows(connection)
        await migrate(empty_db)
        assert await rows(connection) == before
        assert await dump(connection) == WRITTEN.read_text()
        alerts = await connection.fetchval("SELECT count(*) FROM job_alerts")
        assert alerts == 1
    undone: list[str] = []
    async with connected(empty_db) as connection:
        while await newest(connection) != NEWEST_OF_THE_PREVIOUS:
            undone += await rollback(empty_db)
    await migrate_by(previous, empty_db, tmp_path)
    async with connected(empty_db) as connection:
        assert await rows(connection) == before
        # And it still works: the job that waited behind all others is claimed by its functions.
        (due,) = [i for i, row in before.items() if row["priority"] == 10]
        assert await connection.fetchval("SELECT get_next_job('somebody')") == due


async def newest(connection: Connection) -> str:
    name: str = await connection.fetchval(
        "SELECT max(migration_id) FROM _yoyo_migration WHERE migration_id ~ '^[0-9]{4}_'"
    )
    return name


async def test_workers_of_both_releases_share_the_queue_while_the_schema_is_applied(
    previous: str, empty_db: str, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP)
    env = {"DATABASE_URL": empty_db, "LEASE_SECONDS": "6", "HEARTBEAT_SECONDS": "2"}
    await migrate_by(previous, empty_db, tmp_path)
    async with started(previous, "worker", "--app", "app:jobs", env=env, cwd=tmp_path) as old:
        await eventually(lambda: old.has_said('"worker_started"'), within=60)
        (running,) = await enqueue(empty_db, tmp_path, 1)
        await eventually((tmp_path / "runs").exists, within=20)
        await migrate(empty_db)
        async with start("worker", "--app", "app:jobs", env=env, cwd=tmp_path) as new:
            await eventually(lambda: new.has_said('"worker_started"'), within=60)
            more = await enqueue(empty_db, tmp_path, 40)
            (tmp_path / "go-on").touch()
            await eventually(lambda: all_completed(empty_db, [running, *more]), within=60)
    # Each once, in whichever release.
    assert len((tmp_path / "runs").read_text().splitlines()) == 41


async def enqueue(dsn: str, folder: Path, count: int) -> list[UUID]:
    async with connected(dsn) as connection:
        return [
            await connection.fetchval(
                "INSERT INTO public.analysis_jobs (id, job_type, input_data) "
                "VALUES (gen_random_uuid(), 'wait_for_file', "
                "jsonb_build_object('folder', $1::text)) RETURNING id",
                str(folder),
            )
            for _ in range(count)
        ]


async def all_completed(dsn: str, ids: list[UUID]) -> bool:
    async with connected(dsn) as connection:
        left = await connection.fetchval(
            "SELECT count(*) FROM public.analysis_jobs "
            "WHERE id = ANY ($1) AND NOT (status = 'completed' AND retry_count = 0 "
            "AND crash_count = 0)",
            ids,
        )
    return bool(left == 0)
