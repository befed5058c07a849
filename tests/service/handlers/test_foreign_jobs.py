"""Jobs of the built-in types that reach for what is not their user's are refused when run."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.service.handlers.test_builtin import USER, sample_project
from tests.support.factories import insert_plainly, stored_report
from tests.support.workers import Bench, bench
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.handlers.builtin import builtin
from wastewise_jobs.jobs.model import JobView
from wastewise_jobs.projects.analysis_store import AnalysisStore
from wastewise_jobs.projects.model import MAX_FILES

MALLORY = uuid4()


@pytest.fixture
async def built_in(db: str) -> AsyncIterator[Bench]:
    async with bench(db, builtin) as made:
        yield made


async def run(made: Bench, **columns: Any) -> JobView:
    job_id = await insert_plainly(made.pool, **({"max_retries": 0} | columns))
    async with made.worker():
        return await made.until(job_id, "completed", "failed", within=60)


@pytest.mark.parametrize(
    ("job_type", "code"),
    [
        ("complete_analysis", "PROJECT_NOT_FOUND"),
        ("invoice_extraction", "NO_FILES"),
        ("report_generation", "NO_ANALYSIS"),
    ],
)
async def test_a_job_on_somebody_elses_project_reads_and_writes_nothing_of_it(
    built_in: Bench, pool: Pool, job_type: str, code: str
) -> None:
    project_id = await sample_project(pool)
    before = await pool.fetchrow("SELECT * FROM projects WHERE id = $1", project_id)

    job = await run(built_in, job_type=job_type, user_id=MALLORY, project_id=project_id)

    assert (job.status, job.error_code, job.result) == ("failed", code, None)
    assert await AnalysisStore(built_in.pool).rows(job.id, after=0, limit=9) == []
    assert await stored_report(built_in.pool, job.id, "html") is None
    assert await pool.fetchrow("SELECT * FROM projects WHERE id = $1", project_id) == before


async def test_a_project_that_changes_hands_while_its_analysis_runs_is_not_written(
    built_in: Bench, pool: Pool
) -> None:
    project_id = await sample_project(pool)
    # At the last moment: its reports are written, its project is not.
    await pool.execute("""
        CREATE FUNCTION give_away() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE public.projects SET user_id = gen_random_uuid(), status = 'draft';
            RETURN NULL;
        END $$;
        CREATE TRIGGER give_away AFTER INSERT ON job_reports
        FOR EACH ROW EXECUTE FUNCTION give_away();
    """)

    job = await run(built_in, user_id=USER, project_id=project_id)

    assert (job.status, job.error_code) == ("failed", "PROJECT_NOT_FOUND")
    assert await AnalysisStore(built_in.pool).rows(job.id, after=0, limit=9) == []


async def test_a_job_of_nobody_is_the_services_and_may(built_in: Bench, pool: Pool) -> None:
    project_id = await sample_project(pool)

    job = await run(built_in, project_id=project_id)

    assert (job.status, job.error_message) == ("completed", None)


async def test_a_cleanup_that_a_foreign_writer_asked_for_prunes_nothing(
    built_in: Bench, pool: Pool
) -> None:
    old = await insert_plainly(pool, status="completed")
    await pool.execute(
        "UPDATE analysis_jobs SET completed_at = now() - interval '100 days' WHERE id = $1", old
    )

    job = await run(built_in, job_type="cleanup", user_id=MALLORY, foreign_writer=True)

    assert (job.status, job.error_code) == ("failed", "FORBIDDEN")
    assert await built_in.store.get(old, user_id=None) is not None
    assert (await run(built_in, job_type="cleanup", user_id=MALLORY)).result["pruned"] == 1


async def test_a_project_with_any_number_of_file_rows_is_read_no_further_than_its_share(
    built_in: Bench, pool: Pool
) -> None:
    project_id: UUID = await sample_project(pool)
    await pool.execute(
        "INSERT INTO project_files (project_id, file_name) "
        "SELECT $1, 'f' || n FROM generate_series(1, $2::integer) AS n",
        project_id,
        MAX_FILES,
    )

    job = await run(built_in, user_id=USER, project_id=project_id)

    assert (job.status, job.error_code) == ("failed", "TOO_MANY_FILES")
