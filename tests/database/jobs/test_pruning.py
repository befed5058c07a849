"""Pruning goes on past what somebody else's constraint or trigger keeps."""

from typing import Any

import asyncpg
import pytest

from tests.conftest import connected
from tests.support.factories import at, insert_plainly
from wastewise_jobs.db.pool import Connection

DAY = "1 day"
NOTES = "CREATE TABLE notes (id serial, target uuid REFERENCES public.{} {})"


@pytest.fixture
async def foreign(connection: Connection) -> Any:
    yield connection
    await connection.execute("DROP TABLE IF EXISTS notes, rollup_notes")
    await connection.execute("DROP FUNCTION IF EXISTS public.guard_rows() CASCADE")


async def old_jobs(connection: Connection, count: int) -> list[Any]:
    return [
        await insert_plainly(
            connection, status="completed", completed_at=at(minutes=-60 * 48 - count + number)
        )
        for number in range(count)
    ]


async def ids(connection: Connection, table: str = "analysis_jobs") -> set[Any]:
    rows = await connection.fetch(f"SELECT id FROM public.{table}")  # noqa: S608 - ours
    return {row["id"] for row in rows}


async def holds(connection: Connection) -> list[tuple[str, str, str]]:
    rows = await connection.fetch(
        "SELECT table_name, row_name, reason FROM public.job_prune_holds ORDER BY row_name"
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    "rule", ["", "ON DELETE RESTRICT", "DEFERRABLE INITIALLY DEFERRED", "ON DELETE NO ACTION"]
)
async def test_a_job_that_another_table_needs_is_skipped(foreign: Connection, rule: str) -> None:
    await foreign.execute(NOTES.format("analysis_jobs", rule))
    jobs = await old_jobs(foreign, 20)
    kept = {jobs[0], jobs[7]}
    await foreign.executemany("INSERT INTO notes (target) VALUES ($1)", [(job,) for job in kept])
    assert await foreign.fetchval("SELECT public.prune_jobs($1::text::interval, 1000)", DAY) == 18
    assert await ids(foreign) == kept
    found = await holds(foreign)
    assert [(table, name) for table, name, _ in found] == [
        ("analysis_jobs", name) for name in sorted(map(str, kept))
    ]
    assert all('on table "notes"' in reason for *_, reason in found)
    # They are left alone for a day, and go when nothing keeps them.
    assert await foreign.fetchval("SELECT public.prune_jobs($1::text::interval, 1000)", DAY) == 0
    await foreign.execute("DELETE FROM notes")
    assert await foreign.fetchval("SELECT public.prune_jobs($1::text::interval, 1000)", DAY) == 0
    await foreign.execute("UPDATE public.job_prune_holds SET held_at = now() - interval '25 hours'")
    assert await foreign.fetchval("SELECT public.prune_jobs($1::text::interval, 1000)", DAY) == 2
    assert await holds(foreign) == []


async def test_a_job_whose_rows_somebody_holds_holds_up_no_other(
    foreign: Connection, queue_db: str
) -> None:
    await foreign.execute(NOTES.format("analysis_jobs", "ON DELETE CASCADE"))
    jobs = await old_jobs(foreign, 250)
    await foreign.executemany("INSERT INTO notes (target) VALUES ($1)", [(job,) for job in jobs])
    async with connected(queue_db) as other, other.transaction():
        await other.execute("SELECT FROM notes WHERE target = $1 FOR UPDATE", jobs[120])
        await foreign.execute("SET statement_timeout = '10s'")
        assert await foreign.fetchval("SELECT public.cleanup_old_analysis_jobs(1)") == 249
    ((_, name, _),) = await holds(foreign)
    assert name == str(jobs[120])


async def test_a_page_of_jobs_that_stay_hides_no_other(foreign: Connection) -> None:
    await foreign.execute(NOTES.format("analysis_jobs", ""))
    jobs = await old_jobs(foreign, 12)
    await foreign.executemany("INSERT INTO notes (target) VALUES ($1)", [(j,) for j in jobs[:6]])
    assert await foreign.fetchval("SELECT public.prune_jobs($1::text::interval, 3)", DAY) == 3
    assert await foreign.fetchval("SELECT public.cleanup_old_analysis_jobs(1)") == 3
    assert await ids(foreign) == set(jobs[:6])


async def test_nothing_else_is_deleted_by_its_name(connection: Connection) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await connection.execute(
            "SELECT public.delete_or_hold('schema_info', array_agg(ctid), '{x}') "
            "FROM public.schema_info"
        )


async def test_a_trigger_that_refuses_one_row_keeps_that_row(foreign: Connection) -> None:
    jobs = await old_jobs(foreign, 5)
    await foreign.execute(
        "CREATE FUNCTION public.guard_rows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF OLD.id = '{jobs[2]}' THEN RAISE 'mine'; END IF; RETURN OLD; END $$;"
        "CREATE TRIGGER guard BEFORE DELETE ON public.analysis_jobs "
        "FOR EACH ROW EXECUTE FUNCTION public.guard_rows()"
    )
    assert await foreign.fetchval("SELECT public.cleanup_old_analysis_jobs(1)") == 4
    assert await holds(foreign) == [("analysis_jobs", str(jobs[2]), "mine")]


async def test_alerts_and_rollups_are_pruned_past_what_stays_too(foreign: Connection) -> None:
    await foreign.execute(NOTES.format("job_alerts", ""))
    await foreign.execute(
        "INSERT INTO public.job_alerts (alert_type, severity, message, created_at, resolved_at) "
        "SELECT 'job_stuck', 'warning', 'x', now() - interval '2 days', now() - interval '2 days' "
        "FROM generate_series(1, 4)"
    )
    await foreign.execute("INSERT INTO notes (target) SELECT id FROM public.job_alerts LIMIT 1")
    assert await foreign.fetchval("SELECT public.prune_alerts($1::text::interval, 1000)", DAY) == 3
    assert len(await ids(foreign, "job_alerts")) == 1
    await foreign.execute(
        "CREATE TABLE rollup_notes (m integer, at timestamptz, kind text, "
        "FOREIGN KEY (m, at, kind) REFERENCES public.job_rollups (bucket_minutes, bucket_at, "
        "job_type));"
        "UPDATE public.schema_info SET rolled_up_until = now();"
        "INSERT INTO public.job_rollups SELECT m, date_bin('15 minutes', now() - d, '2000-01-01'),"
        " 'echo', 1, 0, 0, 0, 0, 0, '{}', '{}' FROM (VALUES (1, interval '4 days'), "
        "(1, '5 days'), (1, '2 days'), (15, '401 days'), (15, '399 days')) AS v (m, d);"
        "INSERT INTO rollup_notes SELECT bucket_minutes, bucket_at, job_type "
        "FROM public.job_rollups ORDER BY bucket_at LIMIT 1"
    )
    assert await foreign.fetchval("SELECT public.prune_rollups(1000)") == 2
    assert await foreign.fetchval("SELECT public.prune_rollups(1000)") == 0
    assert await foreign.fetchval("SELECT count(*) FROM public.job_rollups") == 3
    assert sorted(table for table, *_ in await holds(foreign)) == ["job_alerts", "job_rollups"]
