"""Whatever a row is made to hold, column by column, it harms only its own owner."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.conftest import connected
from tests.support.factories import job_row
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

TIMES = (
    "'infinity'",
    "'-infinity'",
    "'4713-01-01 BC'",
    "'0001-01-01 00:00 BC'",
    "'12000-01-01'",
    "now() + interval '300 years'",
    "NULL",
)
COUNTS = ("-1", "2147483647", "NULL")
TEXTS = ("repeat('x', 3000000)", "repeat('\U0001f4a3', 300000)", "''", "NULL")
JSONS = (
    """'{"planted": true}'""",
    "'null'",
    "'[]'",
    """'{"a": 1e100000}'""",
    "NULL",
    # Two MiB.
    "jsonb_build_object('a', repeat('x', 2097152))",
)
NIL = "'00000000-0000-0000-0000-000000000000'"
HOSTILE: dict[str, tuple[str, ...]] = {
    "id": (NIL, "NULL"),
    "user_id": (f"'{VICTIM}'", "NULL", "gen_random_uuid()"),
    "project_id": (f"'{VICTIMS_PROJECT}'", "NULL", "gen_random_uuid()"),
    "job_type": ("'cleanup'", "'watched'", "'No Type'", "repeat('x', 3000000)", "NULL"),
    "status": ("'processing'", "'completed'", "'failed'", "'cancelled'", "'done'", "NULL"),
    "progress_percent": COUNTS,
    "current_step": TEXTS,
    "total_steps": COUNTS,
    "steps_completed": COUNTS,
    "started_at": TIMES,
    "completed_at": TIMES,
    "estimated_completion": TIMES,
    "duration_seconds": ("'NaN'", "'Infinity'", "-1", "1e300", "NULL"),
    "input_data": JSONS,
    "result_data": JSONS,
    "error_message": TEXTS,
    "error_code": TEXTS,
    "error_details": JSONS,
    "failed_at": TIMES,
    "retry_count": COUNTS,
    "max_retries": ("-1", "101", "2147483647", "NULL"),
    "ai_requests": COUNTS,
    "ai_tokens_input": (*COUNTS, "9223372036854775807"),
    "ai_tokens_output": (*COUNTS, "9223372036854775807"),
    "ai_cost_usd": ("'NaN'", "'Infinity'", "-1", "1e100000", "1e-16000", "NULL"),
    "created_at": TIMES,
    "updated_at": TIMES,
    "retry_after": TIMES,
    "retry_error_log": JSONS,
    "priority": ("0", "11", "-2147483648", "1", "NULL"),
    "priority_reason": TEXTS,
    "worker_id": TEXTS,
    "claimed_at": TIMES,
    "queue": ("'secret'", "'No Queue'", "repeat('x', 3000000)", "NULL"),
    "fence": ("9223372036854775807", "9223372036854775806", "-1", "NULL"),
    "crash_count": ("2", *COUNTS),
    "timeout_seconds": ("'NaN'", "'Infinity'", "0", "1e-300", "604801", "NULL"),
    "cancel_requested_at": TIMES,
    "idempotency_key": TEXTS,
    "idempotency_hash": ("convert_to(repeat('x', 3000000), 'UTF8')", "NULL"),
    "foreign_writer": ("false", "NULL"),
}
WIDER = """
ALTER TABLE analysis_jobs ALTER duration_seconds TYPE double precision,
    ALTER ai_cost_usd TYPE numeric, ALTER ai_tokens_input TYPE bigint,
    ALTER ai_tokens_output TYPE bigint
"""
ASKED_FOR = ("status", "priority", "input_data")
STATES = ("pending", "processing", "completed", "failed", "cancelled")


@pytest.fixture(scope="module")
async def front_end(postgres: str, supabase_roles: None) -> AsyncIterator[str]:
    del supabase_roles
    async with adopted_database(postgres, changes=WIDER) as dsn:
        async with connected(dsn) as connection:
            await connection.execute(
                "INSERT INTO job_types (job_type, admin_only) VALUES ('watched', true)"
            )
        yield dsn


@pytest.fixture
async def owner(front_end: str) -> AsyncIterator[Connection]:
    async with connected(front_end) as connection:
        yield connection
        await connection.execute("DELETE FROM analysis_jobs; DELETE FROM job_alerts")


@pytest.fixture
async def pool(front_end: str) -> AsyncIterator[Pool]:
    async with create_pool(front_end, max_size=4) as pool:
        yield pool


REFUSED = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.NumericValueOutOfRangeError,
    asyncpg.DatetimeFieldOverflowError,
)


async def attempt(connection: Connection, role: str, statement: str) -> UUID | None:
    """What the statement answers; None when it is refused, by words of ours or a constraint."""
    try:
        async with acting_as(connection, role, MALLORY):
            found: UUID | None = await connection.fetchval(statement)
            return found
    except REFUSED:
        return None


def inserting(column: str, value: str) -> str:
    values = {
        "user_id": f"'{MALLORY}'",
        "project_id": f"'{OWN_PROJECT}'",
        "job_type": "'complete_analysis'",
    } | {column: value}
    return (
        f"INSERT INTO public.analysis_jobs ({', '.join(values)}) "  # noqa: S608 - our own words
        f"VALUES ({', '.join(values.values())}) RETURNING id"
    )


async def job_in(connection: Connection, status: str) -> UUID:
    """A job of Mallory's that came to this status in our hands, as far as the row can tell."""
    job_id = uuid4()
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO analysis_jobs (id, user_id, project_id, job_type) "
            "VALUES ($1, $2, $3, 'complete_analysis')",
            job_id,
            MALLORY,
            OWN_PROJECT,
        )
        if status != "pending":
            await connection.execute(
                "UPDATE analysis_jobs SET status = $2 WHERE id = $1", job_id, status
            )
    return job_id


async def test_the_table_names_every_column(owner: Connection) -> None:
    columns = await owner.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'analysis_jobs'::regclass "
        "AND attnum > 0 AND NOT attisdropped"
    )
    assert {row[0] for row in columns} == set(HOSTILE)


@pytest.mark.parametrize("column", HOSTILE)
async def test_a_foreign_insert_says_only_what_it_may(
    owner: Connection, pool: Pool, column: str
) -> None:
    plain = await attempt(owner, "authenticated", inserting("input_data", "'{}'"))
    assert plain is not None
    usual = await job_row(owner, plain)
    for value in HOSTILE[column]:
        job_id = await attempt(owner, "authenticated", inserting(column, value))
        if job_id is not None:
            row = await job_row(owner, job_id)
            assert_usual(row, usual, column)
    await assert_everybody_is_served(owner, pool)


def assert_usual(row: dict[str, Any], usual: dict[str, Any], column: str) -> None:
    mine = {"input_data", "priority", "priority_reason", "retry_after", "project_id", "job_type"}
    changed = {name for name in row if row[name] != usual[name]}
    assert changed - {"id", "created_at", "updated_at"} <= ({column} | {"priority_reason"}) & mine
    assert row["user_id"] == MALLORY
    assert row["project_id"] in {OWN_PROJECT, None}
    assert row["job_type"] == "complete_analysis"
    assert 1 <= row["priority"] <= 10
    if row["retry_after"] is not None:
        assert 0 < (row["retry_after"] - row["created_at"]).days <= 365


@pytest.mark.parametrize("column", HOSTILE)
async def test_a_foreign_update_changes_only_what_it_may(
    owner: Connection, pool: Pool, column: str
) -> None:
    for status in STATES:
        for value in HOSTILE[column]:
            job_id = await job_in(owner, status)
            before = await job_row(owner, job_id)
            statement = (
                f"UPDATE analysis_jobs SET {column} = {value} "  # noqa: S608 - our own words
                f"WHERE id = '{job_id}' RETURNING id"
            )
            await attempt(owner, "authenticated", statement)
            after = await job_row(owner, job_id)
            changed = {name for name in after if after[name] != before[name]} - {"updated_at"}
            if column not in ASKED_FOR or (status == "processing" and column != "status"):
                assert changed == set()
    await assert_everybody_is_served(owner, pool)


@pytest.mark.parametrize("role", ["postgres", "service_role"])
@pytest.mark.parametrize("column", HOSTILE)
async def test_an_operator_too_stays_within_bounds(
    owner: Connection, pool: Pool, column: str, role: str
) -> None:
    for value in HOSTILE[column]:
        await attempt(owner, role, inserting(column, value))
        for status in STATES:
            job_id = await job_in(owner, status)
            statement = (
                f"UPDATE analysis_jobs SET {column} = {value} "  # noqa: S608 - our own words
                f"WHERE id = '{job_id}' RETURNING id"
            )
            await attempt(owner, role, statement)
    await assert_everybody_is_served(owner, pool)
