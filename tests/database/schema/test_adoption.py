"""An existing WasteWise database is taken over as it is, rows, policies, front end and all."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import connected, database
from tests.support.factories import (
    JOB_TYPES,
    assert_invariant,
    claim,
    enqueue,
    insert_plainly,
    job_row,
    make_job,
    rescue,
)
from tests.support.foreign import ADOPTED
from wastewise_jobs.db.pool import Connection, create_pool
from wastewise_jobs.db.schema.migrate import (
    check_schema,
    migrate,
    migrations_dir,
    rollback,
    tables_to_lose,
)
from wastewise_jobs.errors import JobRefusedError
from wastewise_jobs.jobs.model import JobFilter, Status
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.jobs.store import JobStore

USER = UUID("11111111-1111-1111-1111-111111111111")
PROJECT = UUID("aaaaaaaa-0000-0000-0000-000000000001")
ENTERPRISE = """
ALTER TABLE analysis_jobs
    ADD COLUMN retry_after timestamptz,
    ADD COLUMN retry_error_log jsonb DEFAULT '[]',
    ADD COLUMN priority integer DEFAULT 5 CHECK (priority BETWEEN 1 AND 10),
    ADD COLUMN priority_reason text,
    ADD COLUMN worker_id text,
    ADD COLUMN claimed_at timestamptz;
CREATE INDEX idx_jobs_claim ON analysis_jobs (priority, created_at) WHERE status = 'pending';
UPDATE analysis_jobs SET worker_id = 'old-worker', claimed_at = now() WHERE status = 'processing';
UPDATE analysis_jobs SET priority = NULL, retry_error_log = NULL
WHERE id = 'bbbbbbbb-0000-0000-0000-000000000006';
UPDATE analysis_jobs SET priority = 2, retry_after = now() + interval '1 hour'
WHERE id = 'bbbbbbbb-0000-0000-0000-000000000002'
"""
# Filled or brought within limits where they were NULL or out of them.
NEVER_NULL = ("retry_count", "max_retries", "created_at", "updated_at", "priority")
MENDED = {*NEVER_NULL, "retry_error_log"}


def job_id(number: int) -> UUID:
    return UUID(f"bbbbbbbb-0000-0000-0000-{number:012}")


@pytest.fixture(params=["plain", "enterprise"])
async def existing(
    request: pytest.FixtureRequest, postgres: str, supabase_roles: None
) -> AsyncIterator[str]:
    """The DSN of a database that knows nothing of us yet."""
    del supabase_roles
    async with database(postgres) as dsn:
        async with connected(dsn) as connection:
            await connection.execute(ADOPTED.read_text())
            if request.param == "enterprise":
                await connection.execute(ENTERPRISE)
        yield dsn


@pytest.fixture
async def before(existing: str) -> dict[str, list[dict[str, Any]]]:
    async with connected(existing) as connection:
        return await _rows(connection)


@pytest.fixture
async def adopted(
    before: object, existing: str
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to the database after the migration; `before` is what it held."""
    del before
    await migrate(existing)
    async with connected(existing) as connection:
        yield connection


async def _rows(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    return {
        table: [
            dict(row)
            for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY id")  # noqa: S608
        ]
        for table in ("projects", "project_files", "analysis_jobs")
    }


async def test_every_row_keeps_what_it_said(
    adopted: Connection, before: dict[str, list[dict[str, Any]]]
) -> None:
    after = await _rows(adopted)
    for table, rows in before.items():
        assert len(after[table]) == len(rows)
        for old, new in zip(rows, after[table], strict=True):
            odd = old.get("max_retries") == 1000 or None in {old.get(c, "") for c in NEVER_NULL}
            kept = {c: v for c, v in old.items() if not (odd and c in MENDED)}
            assert {c: new[c] for c in kept} == kept


async def test_odd_rows_are_brought_within_limits(adopted: Connection) -> None:
    odd = await job_row(adopted, job_id(6))
    assert (odd["priority"], odd["retry_count"], odd["max_retries"]) == (5, 0, 3)
    assert odd["created_at"] is not None
    assert (await job_row(adopted, job_id(7)))["max_retries"] == 100


async def test_unfinished_jobs_enter_the_queue_and_running_ones_have_half_an_hour(
    adopted: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    await assert_invariant(adopted)
    queued = await adopted.fetch("SELECT * FROM job_queue ORDER BY id")
    assert [row["id"] for row in queued] == [job_id(n) for n in (1, 2, 3, 6, 7)]
    (running,) = (row for row in queued if row["leased"])
    left = await adopted.fetchval("SELECT $1::timestamptz - now()", running["lease_expires_at"])
    assert running["id"] == job_id(3)
    assert 29 * 60 < left.total_seconds() <= 30 * 60
    await check_schema(adopted)


async def test_every_pending_job_is_claimed_and_completed(
    adopted: Connection, existing: str
) -> None:
    await adopted.execute("UPDATE analysis_jobs SET retry_after = NULL WHERE retry_after > now()")
    async with create_pool(existing) as pool:
        store = JobStore(pool)
        jobs = await claim(store, 9)
        assert sorted(job.id for job in jobs) == [job_id(n) for n in (1, 2, 6, 7)]
        won = await store.complete([(job, Completed('{"ok": true}')) for job in jobs])
        assert won == {job.id for job in jobs}
        views = await store.list_jobs(JobFilter(), limit=50)
        assert len(views) == 8
        for view in views:
            assert await store.get(view.id, user_id=USER) is not None
    await assert_invariant(adopted)


async def test_a_running_job_of_the_old_worker_is_rescued_when_its_time_is_up(
    adopted: Connection, existing: str
) -> None:
    await adopted.execute(
        "UPDATE job_queue SET lease_expires_at = now() - interval '1 s', expired = true "
        "WHERE leased"
    )
    async with create_pool(existing) as pool:
        assert [(r.id, r.settled) for r in await rescue(JobStore(pool))] == [(job_id(3), "rescued")]


async def test_old_functions_are_gone_and_ours_are_called_by_name(adopted: Connection) -> None:
    found = await adopted.fetch(
        "SELECT p.oid::regprocedure::text, pg_get_function_arguments(p.oid) FROM pg_proc p "
        "WHERE proname = ANY ($1) ORDER BY 1",
        ["get_next_job", "schedule_job_retry", "cleanup_old_analysis_jobs", "assign_job_priority"],
    )
    assert [tuple(row) for row in found] == [
        ("assign_job_priority(uuid,text)", "user_id uuid, job_type text"),
        ("cleanup_old_analysis_jobs(integer)", "days_to_keep integer DEFAULT 30"),
        ("get_next_job(text)", "worker_identifier text"),
        (
            "schedule_job_retry(uuid,text,text)",
            "job_id uuid, error_msg text, error_cd text DEFAULT NULL::text",
        ),
    ]
    assert await adopted.fetchval("SELECT get_next_job(worker_identifier => 'rpc')") is not None


async def test_policies_grants_foreign_keys_and_triggers_stay(adopted: Connection) -> None:
    policies = await adopted.fetch("SELECT policyname FROM pg_policies ORDER BY 1")
    assert [row[0] for row in policies] == ["own_jobs", "own_projects"]
    granted = await adopted.fetch(
        "SELECT privilege_type FROM information_schema.role_table_grants "
        "WHERE table_name = 'analysis_jobs' AND grantee = 'authenticated' ORDER BY 1"
    )
    assert [row[0] for row in granted] == ["INSERT", "SELECT", "UPDATE"]
    keys = await adopted.fetchval(
        "SELECT count(*) FROM pg_constraint "
        "WHERE conrelid = 'analysis_jobs'::regclass AND contype = 'f'"
    )
    assert keys == 2
    assert await adopted.fetchval("SELECT 1 FROM pg_trigger WHERE tgname = 'set_updated_at'")
    assert await adopted.fetchval("SELECT 1 FROM pg_class WHERE relname = 'idx_jobs_user'")
    # They would cost every change of status its HOT update, and job_queue answers for them.
    gone = ["idx_jobs_status", "idx_jobs_pending", "idx_jobs_claim"]
    assert await adopted.fetch("SELECT 1 FROM pg_class WHERE relname = ANY ($1)", gone) == []


async def test_the_front_end_inserts_a_job_and_it_is_run(
    adopted: Connection, existing: str
) -> None:
    transaction = adopted.transaction()
    await transaction.start()
    await adopted.execute("SELECT set_config('request.jwt.claim.sub', $1, true)", str(USER))
    await adopted.execute("SET LOCAL ROLE authenticated")
    new = await insert_plainly(
        adopted, user_id=USER, project_id=PROJECT, priority=1, input_data='{"from": "browser"}'
    )
    await transaction.commit()
    async with create_pool(existing) as pool:
        store = JobStore(pool)
        (job,) = await claim(store)
        assert (job.id, job.priority, job.input_json) == (new, 1, '{"from": "browser"}')
        assert await store.complete([(job, Completed("[1]"))]) == {new}
        view = await store.get(new, user_id=USER)
    assert view is not None
    assert (view.status, view.result) == (Status.COMPLETED, [1])


async def test_a_row_that_row_level_security_hides_from_a_user_stays_hidden(
    adopted: Connection,
) -> None:
    async with adopted.transaction():
        await adopted.execute("SET LOCAL ROLE authenticated")
        assert await adopted.fetchval("SELECT count(*) FROM analysis_jobs") == 0
        assert await adopted.execute("UPDATE analysis_jobs SET status = 'failed'") == "UPDATE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await adopted.execute("SELECT get_next_job('me')")


async def test_the_checks_are_ours_now(adopted: Connection, existing: str) -> None:
    async with create_pool(existing) as pool:
        store = JobStore(pool)
        (cleanup,) = await enqueue(store, make_job(job_type="cleanup"))
        assert await store.cancel(cleanup.id, user_id=None) == "cancelled"
        ghost = UUID(int=9)
        no_user, no_project = await store.enqueue(
            [make_job(user_id=ghost, project_id=PROJECT), make_job(user_id=USER, project_id=ghost)]
        )
    assert isinstance(no_user, JobRefusedError)
    assert isinstance(no_project, JobRefusedError)
    assert (no_user.code, no_user.field) == ("user_not_found", "userId")
    assert (no_project.code, no_project.field) == ("project_not_found", "projectId")
    with pytest.raises(asyncpg.CheckViolationError):
        await adopted.execute("UPDATE analysis_jobs SET status = 'done'")


async def test_going_all_the_way_back_leaves_their_tables_and_forward_works_again(
    adopted: Connection, existing: str, before: dict[str, list[dict[str, Any]]]
) -> None:
    after = await _rows(adopted)
    assert await tables_to_lose(existing, count=99) == ["job_queue"]
    numbered = [file for file in migrations_dir().glob("0*.sql") if "rollback" not in file.name]
    assert len(await rollback(existing, count=99)) == len(numbered)
    rolled_back = await _rows(adopted)
    for table, rows in before.items():
        for old, was, now in zip(rows, after[table], rolled_back[table], strict=True):
            assert {c: now[c] for c in old} == {c: was[c] for c in old}
    left = await adopted.fetch(
        "SELECT p.oid::regprocedure::text FROM pg_proc p "
        "WHERE pronamespace = 'public'::regnamespace"
    )
    assert [row[0] for row in left] == ["touch_updated_at()"]
    tables = await adopted.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relkind = 'r' AND relname !~ 'yoyo' ORDER BY 1"
    )
    assert [row[0] for row in tables] == ["analysis_jobs", "project_files", "projects"]
    # The front end works without us, as before.
    await insert_plainly(adopted, user_id=USER, project_id=PROJECT)
    await migrate(existing)
    await assert_invariant(adopted)
    assert await adopted.fetchval("SELECT count(*) FROM job_queue") == 6


async def test_rows_that_nothing_forbade_do_not_stop_the_adoption(existing: str) -> None:
    async with connected(existing) as connection:
        await connection.execute(
            "ALTER TABLE analysis_jobs ALTER job_type DROP NOT NULL, ALTER status DROP NOT NULL;"
            "ALTER TABLE analysis_jobs DROP CONSTRAINT analysis_jobs_job_type_check,"
            " DROP CONSTRAINT analysis_jobs_status_check;"
            "UPDATE analysis_jobs SET job_type = 'Complete Analysis!' WHERE id::text ~ '01$';"
            "UPDATE analysis_jobs SET job_type = NULL WHERE id::text ~ '03$';"
            "UPDATE analysis_jobs SET status = 'queued' WHERE id::text ~ '04$';"
            "UPDATE analysis_jobs SET status = NULL WHERE id::text ~ '05$'"
        )
    await migrate(existing)
    async with create_pool(existing) as pool:
        store = JobStore(pool)
        views = {view.id: view for view in await store.list_jobs(JobFilter(), limit=50)}
        assert len(views) == 8
        for number in (1, 3, 4, 5):
            assert views[job_id(number)].status is Status.FAILED  # type: ignore[index]
            assert views[job_id(number)].error_code == "NOT_ADOPTED"  # type: ignore[index]
        assert await pool.fetchval("SELECT get_next_job('rpc')") is not None
        assert len(await claim(store, 9, job_types=JOB_TYPES)) >= 1
        assert await rescue(store) == []
