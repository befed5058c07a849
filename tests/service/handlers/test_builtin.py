"""The built-in job types on real files, from the queue to the reports."""

import io
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from jsonschema import Draft202012Validator

from tests.support.factories import stored_report
from tests.support.workers import Bench, bench
from wastewise_jobs.analysis.sample import sample_files, sample_property
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.handlers.builtin import REGULATORY_RESEARCH, builtin
from wastewise_jobs.jobs.ids import new_job_id
from wastewise_jobs.jobs.model import JobView, NewJob
from wastewise_jobs.projects.analysis_store import AnalysisStore
from wastewise_jobs.projects.model import NewProject
from wastewise_jobs.projects.store import ProjectStore

USER = UUID("5f2b6a52-3c1d-4e8f-9a6b-2d5e8c1f0a37")


@pytest.fixture
async def built_in(db: str) -> AsyncIterator[Bench]:
    async with bench(db, builtin) as made:
        yield made


async def sample_project(pool: Pool, *, without: str = "nothing") -> UUID:
    facts = sample_property()
    store = ProjectStore(pool)
    project = await store.create(
        NewProject(
            facts.name,
            facts.units,
            facts.city,
            facts.state,
            facts.equipment_type or "",
            facts.property_type,
        ),
        user_id=USER,
    )
    for file in sample_files():
        if without not in file.name:
            await upload(pool, project.id, file.name, file.content)
    return project.id


async def upload(pool: Pool, project_id: UUID, name: str, content: bytes) -> None:
    answer = await ProjectStore(pool).put_file(
        project_id,
        user_id=USER,
        file_name=name,
        file_type="other",
        mime_type=None,
        content=content,
    )
    assert not isinstance(answer, str)


async def finished(
    made: Bench, job_type: str, project_id: UUID | None, input_json: str = "{}"
) -> JobView:
    job = NewJob(new_job_id(), job_type, input_json, USER, project_id, max_retries=0)
    await made.store.enqueue([job])
    async with made.worker(lease=timedelta(seconds=30), heartbeat_interval=timedelta(seconds=1)):
        return await made.until(job.id, "completed", "failed", within=60)


async def test_a_complete_analysis_stores_result_rows_reports_and_project(
    built_in: Bench, pool: Pool
) -> None:
    project_id = await sample_project(pool)

    job = await finished(built_in, "complete_analysis", project_id)

    assert (job.status, job.error_message, job.progress_percent) == ("completed", None, 100)
    assert (job.steps_completed, job.total_steps) == (6, 6)
    assert job.result["summary"]["annualSavings"] > 0
    assert job.result["reports"]["xlsx"] == f"/api/jobs/{job.id}/reports/xlsx"
    html = await stored_report(built_in.pool, job.id, "html")
    workbook = await stored_report(built_in.pool, job.id, "xlsx")
    assert html is not None
    assert sample_property().name.encode() in html
    assert workbook is not None
    assert "xl/workbook.xml" in zipfile.ZipFile(io.BytesIO(workbook)).namelist()
    rows = await AnalysisStore(built_in.pool).rows(job.id, after=0, limit=1000)
    assert [position for position, _ in rows] == list(range(1, len(rows) + 1))
    assert {row["type"] for _, row in rows} == {"invoice", "haul_log"}
    project = await ProjectStore(pool).get(project_id, user_id=USER)
    assert project is not None
    assert (project.status, project.progress) == ("completed", 100)
    assert float(project.total_savings or 0) == job.result["summary"]["annualSavings"]


async def test_reports_built_again_from_the_stored_analysis_are_the_same(
    built_in: Bench, pool: Pool
) -> None:
    project_id = await sample_project(pool)
    analysis = await finished(built_in, "complete_analysis", project_id)

    again = await finished(built_in, "report_generation", project_id)

    assert again.result["analysisJobId"] == str(analysis.id)
    first = await stored_report(built_in.pool, analysis.id, "html")
    assert first == await stored_report(built_in.pool, again.id, "html")
    assert await stored_report(built_in.pool, again.id, "xlsx") is not None


async def test_an_analysis_of_another_project_cannot_be_reported_on(
    built_in: Bench, pool: Pool
) -> None:
    foreign = await finished(built_in, "complete_analysis", await sample_project(pool))
    mine = await sample_project(pool)

    job = await finished(
        built_in, "report_generation", mine, f'{{"analysisJobId": "{foreign.id}"}}'
    )

    assert (job.status, job.error_code) == ("failed", "NO_ANALYSIS")


async def test_an_extraction_counts_and_keeps_the_rows(built_in: Bench, pool: Pool) -> None:
    job = await finished(built_in, "invoice_extraction", await sample_project(pool))

    rows = await AnalysisStore(built_in.pool).rows(job.id, after=0, limit=1000)
    assert job.result["rows"] == len(rows) == job.result["invoiceLines"] + job.result["hauls"]
    total = sum(month["total"] for month in job.result["byMonth"])
    assert total == pytest.approx(job.result["totalSpend"])


async def test_without_a_haul_log_the_invoices_are_analysed_with_a_warning(
    built_in: Bench, pool: Pool
) -> None:
    job = await finished(built_in, "complete_analysis", await sample_project(pool, without="hauls"))

    assert job.status == "completed"
    assert job.result["summary"]["costPerDoor"] > 0
    assert job.result["summary"]["tonsPerHaul"] is None
    assert any("haul log" in warning["message"] for warning in job.result["warnings"])


BROKEN = (
    b"Invoice Number,Invoice Date,Vendor Name,Description,Amount\nA1,2025-01-03,Acme,Haul,twelve\n"
)
TWO = (
    b"Property,Invoice Number,Invoice Date,Vendor Name,Description,Amount\n"
    b"Oak,A1,05/02/2025,Acme,Haul,1.250\nPine,A2,05/02/2025,Acme,Haul,2.500\n"
)


@pytest.mark.parametrize("job_type", ["complete_analysis", "invoice_extraction"])
async def test_the_input_decides_what_files_leave_open(
    built_in: Bench, pool: Pool, job_type: str
) -> None:
    project_id = await sample_project(pool, without="")
    await upload(pool, project_id, "two.csv", TWO)
    chosen = '{"dateOrder": "dmy", "decimal": ".", "locations": ["pine"]}'

    job = await finished(built_in, job_type, project_id, chosen)

    rows = [row for _, row in await AnalysisStore(built_in.pool).rows(job.id, after=0, limit=10)]
    assert [(row["invoiceDate"], row["amount"]) for row in rows] == [("2025-02-05", "2.500")]
    open_codes = {"date_order_ambiguous", "decimal_mark_ambiguous", "several_locations"}
    assert not open_codes & {warning["code"] for warning in job.result["warnings"]}


def test_a_choice_that_is_none_is_refused_at_submission_by_its_field() -> None:
    schemas = {info.job_type: info.input_schema for info in builtin.job_types()}
    for job_type in ("complete_analysis", "invoice_extraction"):
        validator = Draft202012Validator(schemas[job_type])
        wrong = {"dateOrder": "dym", "decimal": ";", "locations": ["", "Oak"]}
        assert {str(error.absolute_path[0]) for error in validator.iter_errors(wrong)} == set(wrong)
        good = {"dateOrder": "ymd", "decimal": ",", "locations": ["Oak"]}
        assert validator.is_valid(good)
    assert not Draft202012Validator(schemas["report_generation"]).is_valid({"decimal": ","})


@pytest.mark.parametrize(
    ("job_type", "input_json", "content", "code", "word"),
    [
        ("complete_analysis", "{}", None, "NO_FILES", "upload"),
        ("complete_analysis", "{}", BROKEN, "UNREADABLE_FILE", 'bad.csv, row 2, column "Amount"'),
        ("invoice_extraction", '{"files": ["gone.csv"]}', BROKEN, "FILE_NOT_FOUND", "gone.csv"),
        ("invoice_extraction", '{"files": "bad.csv"}', BROKEN, "INVALID_INPUT", "files"),
        ("complete_analysis", '{"dateOrder": "dym"}', BROKEN, "INVALID_INPUT", "dateOrder"),
        ("invoice_extraction", '{"decimal": "\'"}', BROKEN, "INVALID_INPUT", "decimal"),
        ("invoice_extraction", '{"locations": []}', BROKEN, "INVALID_INPUT", "locations"),
        ("complete_analysis", '{"locations": ["Elm"]}', TWO, "UNKNOWN_LOCATION", '"Oak", "Pine"'),
        ("report_generation", "{}", BROKEN, "NO_ANALYSIS", "complete_analysis"),
    ],
)
async def test_what_cannot_be_analysed_fails_at_once_with_a_code_and_says_where(
    built_in: Bench,
    pool: Pool,
    job_type: str,
    input_json: str,
    content: bytes | None,
    code: str,
    word: str,
) -> None:
    project_id = await sample_project(pool, without="")
    if content is not None:
        await upload(pool, project_id, "bad.csv", content)

    job = await finished(built_in, job_type, project_id, input_json)

    assert (job.status, job.error_code, job.retry_count) == ("failed", code, 0)
    assert word in (job.error_message or "")


async def test_a_failed_analysis_shows_on_its_project(built_in: Bench, pool: Pool) -> None:
    project_id = await sample_project(pool, without="")
    await upload(pool, project_id, "bad.csv", BROKEN)

    job = await finished(built_in, "complete_analysis", project_id)

    project = await ProjectStore(pool).get(project_id, user_id=USER)
    assert project is not None
    assert (project.status, project.error_message) == ("failed", job.error_message)


async def test_cleanup_prunes_what_finished_long_ago_and_nothing_else(
    built_in: Bench, pool: Pool
) -> None:
    old, fresh, waiting = (NewJob(new_job_id(), "elsewhere") for _ in range(3))
    await built_in.store.enqueue([old, fresh, waiting])
    for job, days in ((old, 31), (fresh, 29)):
        await pool.execute(
            "UPDATE analysis_jobs SET status = 'completed',"
            " completed_at = now() - make_interval(days => $2) WHERE id = $1",
            job.id,
            days,
        )

    job_view = await finished(built_in, "cleanup", None)

    assert job_view.result == {"pruned": 1, "olderThanDays": 30}
    left = await pool.fetch("SELECT id FROM analysis_jobs WHERE job_type = 'elsewhere'")
    assert {row["id"] for row in left} == {fresh.id, waiting.id}


async def test_a_job_that_the_front_end_inserted_is_analysed(built_in: Bench, pool: Pool) -> None:
    project_id = await sample_project(pool)
    job_id = uuid4()
    async with built_in.worker():
        await pool.execute(
            "INSERT INTO analysis_jobs (id, user_id, project_id, job_type, status, input_data,"
            " priority) VALUES ($1, $2, $3, 'complete_analysis', 'pending', '{}', 2)",
            job_id,
            USER,
            project_id,
        )
        job = await built_in.until(job_id, "completed", "failed", within=60)

    assert (job.status, job.priority) == ("completed", 2)


def test_what_computes_runs_where_it_can_be_killed() -> None:
    computing = {handler.job_type: handler.options.run_in for handler in builtin}
    assert computing.pop("cleanup") == "loop"
    assert set(computing.values()) == {"process"}


def test_the_research_type_is_known_and_says_why_it_is_refused() -> None:
    types: dict[str, Any] = {
        info.job_type: info for info in [*builtin.job_types(), REGULATORY_RESEARCH]
    }

    assert sorted(types) == [
        "cleanup",
        "complete_analysis",
        "invoice_extraction",
        "regulatory_research",
        "report_generation",
    ]
    assert types["regulatory_research"] == REGULATORY_RESEARCH
    assert "endpoint" in (REGULATORY_RESEARCH.refusal or "")
    assert all(info.refusal is None for name, info in types.items() if "research" not in name)
