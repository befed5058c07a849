"""The WasteWise job types: the hand-over from the queue to the analysis.

The heavy ones run whole in a child process, what they read and write included: the worker holds
nothing of a project, and no more projects are in memory than there are processes. A complete
analysis writes its rows, its reports, its project and its completion in one transaction: a reader
never sees a project that is done without its reports, and a second run replaces nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal, cast
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from wastewise_jobs.analysis import (
    LONGEST_LOCATION,
    Analysis,
    AnalysisError,
    Choices,
    Extraction,
    PropertyFacts,
    SourceFile,
    analyse,
    extract,
    render_html,
    render_xlsx,
)
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.errors import PermanentError
from wastewise_jobs.handlers.context import JobContext
from wastewise_jobs.handlers.registry import Jobs
from wastewise_jobs.jobs.model import JobId, JobTypeInfo
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.projects.analysis_store import AnalysisStore, FileRow
from wastewise_jobs.projects.model import MAX_FILES

_PRUNED_AT_ONCE = 500
_RECOGNISED = {"invoice", "haul_log"}

builtin = Jobs()

# Known, so that its refusal says what is missing instead of "unknown job type".
REGULATORY_RESEARCH = JobTypeInfo(
    "regulatory_research",
    description="Looks up waste regulations with services outside this product.",
    needs_project=True,
    refusal=("regulatory_research is done by an outside endpoint, and this installation has none"),
)


class _Input(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")


class FilesInput(_Input):
    """Which files of the project to read, and how where they leave it open."""

    files: list[str] | None = Field(
        None, min_length=1, max_length=100, description="names of files; all when absent"
    )
    date_order: Literal["mdy", "dmy", "ymd"] | None = Field(
        None, description="how dates such as 05/02/2025 are read; by what each file says if absent"
    )
    decimal: Literal[".", ","] | None = Field(
        None, description="the decimal mark of numbers that are text; told by each file if absent"
    )
    locations: list[Annotated[str, Field(min_length=1, max_length=LONGEST_LOCATION)]] | None = (
        Field(
            None,
            min_length=1,
            max_length=100,
            description="only rows of these properties, locations or accounts, as a warning lists "
            "them; all when absent",
        )
    )

    @property
    def choices(self) -> Choices:
        """What was decided about files that can be read in more than one way."""
        return Choices(self.date_order, self.decimal, tuple(self.locations or ()))


class ReportInput(_Input):
    """Which analysis to build the reports of."""

    analysis_job_id: UUID | None = Field(
        None, description="a completed complete_analysis of the project; the newest when absent"
    )


class CleanupInput(_Input):
    """Which finished jobs to prune."""

    older_than_days: int = Field(30, ge=1, le=3650, description="days since the job finished")


@builtin.handler(
    "invoice_extraction",
    timeout=timedelta(minutes=10),
    run_in="process",
    needs_project=True,
    description="Reads the project's files into typed rows.",
)
async def invoice_extraction(job: JobContext, input: FilesInput) -> None:
    """Read the project's files into typed rows."""
    steps = Steps(job, "Loading files", "Reading rows", "Saving")
    steps.next()
    async with job.connection() as connection:
        sources = await _sources(job, connection, input.files)
    steps.next()
    with _refusals():
        extraction = extract(sources, input.choices)
    summary = extraction.to_json()
    steps.next()
    async with job.transaction() as connection:
        count = await AnalysisStore(connection).save_rows(job.id, _row_texts(extraction))
        job.set_result({**summary, "rows": count})


@builtin.handler(
    "complete_analysis",
    timeout=timedelta(minutes=15),
    run_in="process",
    needs_project=True,
    description="Reads the project's files, measures, recommends, and builds both reports.",
)
async def complete_analysis(job: JobContext, input: FilesInput) -> None:
    """Extract, measure, recommend and report."""
    steps = Steps(
        job,
        "Loading files",
        "Reading rows",
        "Measuring and weighing",
        "Drawing the report",
        "Writing the workbook",
        "Saving",
    )
    steps.next()
    project_id = _project_of(job)
    async with job.connection() as connection:
        facts = await _facts(job, connection)
        sources = await _sources(job, connection, input.files)
        await AnalysisStore(connection).begin(project_id, user_id=job.user_id)
    steps.next()
    with _refusals():
        extraction = extract(sources, input.choices)
        sources.clear()
        steps.next()
        analysis = analyse(facts, extraction)
        steps.next()
        html = render_html(analysis)
        steps.next()
        workbook = render_xlsx(analysis, extraction)
    steps.next()
    result = {**analysis.to_json(), "reports": _links(job.id)}
    async with job.transaction() as connection:
        store = AnalysisStore(connection)
        await store.save_rows(job.id, _row_texts(extraction))
        await _save_reports(job.id, html, workbook, store)
        recorded = await store.record(
            project_id,
            user_id=job.user_id,
            total_savings=round(analysis.annual_savings, 2),
            months=_months(analysis),
        )
        if not recorded:
            raise _no_project()
        job.set_result(result)


@builtin.handler(
    "report_generation",
    timeout=timedelta(minutes=10),
    run_in="process",
    priority=7,
    needs_project=True,
    description="Builds the reports again from the stored analysis.",
)
async def report_generation(job: JobContext, input: ReportInput) -> None:
    """Build both reports again from a stored analysis."""
    steps = Steps(
        job, "Loading the analysis", "Drawing the report", "Writing the workbook", "Saving"
    )
    steps.next()
    async with job.connection() as connection:
        stored = await AnalysisStore(connection).latest_analysis(
            _project_of(job), input.analysis_job_id, user_id=job.user_id
        )
    if stored is None:
        message = "the project has no such completed analysis; run complete_analysis first"
        raise PermanentError("NO_ANALYSIS", message)
    with _refusals():
        analysis = Analysis.from_json(stored.result)
        extraction = Extraction.from_rows(stored.rows, stored.result)
        stored.rows.clear()
        steps.next()
        html = render_html(analysis)
        steps.next()
        workbook = render_xlsx(analysis, extraction)
    steps.next()
    async with job.transaction() as connection:
        await _save_reports(job.id, html, workbook, AnalysisStore(connection))
        job.set_result({"analysisJobId": str(stored.job_id), "reports": _links(job.id)})


@builtin.handler(
    "cleanup",
    timeout=timedelta(hours=1),
    priority=9,
    admin_only=True,
    description="Prunes old finished jobs.",
)
async def cleanup(job: JobContext, input: CleanupInput) -> dict[str, int]:
    """Prune old finished jobs, a few hundred at a time."""
    async with job.connection() as connection:
        foreign = await _store(connection).is_foreign(job.id)
    if foreign:
        raise PermanentError("FORBIDDEN", "only the service and admins may ask for a cleanup")
    pruned = 0
    while not job.cancelled:
        async with job.connection() as connection:
            age = timedelta(days=input.older_than_days)
            count = await _store(connection).prune(age, _PRUNED_AT_ONCE)
        if count == 0:
            break
        pruned += count
        job.progress(50, f"Pruned {pruned} jobs")
    return {"pruned": pruned, "olderThanDays": input.older_than_days}


class Steps:
    """Named steps of one run, reported as they begin."""

    def __init__(self, job: JobContext, *names: str) -> None:
        self._job = job
        self._names = names
        self._done = -1

    def next(self) -> None:
        """Begin the next step."""
        self._done += 1
        total = len(self._names)
        self._job.progress(
            100 * self._done // total,
            self._names[self._done],
            steps_completed=self._done,
            total_steps=total,
        )


async def _facts(job: JobContext, connection: Connection) -> PropertyFacts:
    project_id = _project_of(job)
    row = await AnalysisStore(connection).property_of(project_id, user_id=job.user_id)
    if row is None:
        raise _no_project()
    with _refusals():
        return PropertyFacts(
            name=row.name,
            units=row.units,
            city=row.city,
            state=row.state,
            property_type=row.property_type,
            equipment_type=row.equipment_type,
            containers=row.containers,
            container_yards=row.container_yards,
            pickups_per_week=row.pickups_per_week,
        )


async def _sources(
    job: JobContext, connection: Connection, names: Sequence[str] | None
) -> list[SourceFile]:
    found = await AnalysisStore(connection).files(
        _project_of(job), names, user_id=job.user_id, limit=MAX_FILES + 1
    )
    if len(found) > MAX_FILES:
        raise PermanentError("TOO_MANY_FILES", f"the project has more than {MAX_FILES} files")
    missing = sorted(set(names or ()) - {file.name for file in found})
    if missing:
        raise PermanentError(
            "FILE_NOT_FOUND",
            f"the project has no file named {', '.join(missing)}",
            details={"files": missing},
        )
    sources = [_source(file) for file in found if names or file.file_type != "contract"]
    if not sources:
        message = "the project has no files; upload its invoices and haul log first"
        raise PermanentError("NO_FILES", message)
    return sources


async def _save_reports(job_id: JobId, html: str, workbook: bytes, store: AnalysisStore) -> None:
    for report_format, content in (("html", html.encode()), ("xlsx", workbook)):
        await store.save_report(job_id, report_format, content)


def _store(connection: Connection) -> JobStore:
    # It needs no pool for statements on one connection.
    return JobStore(cast("Pool", connection))


@contextmanager
def _refusals() -> Iterator[None]:
    """What the analysis refuses, it refuses every time."""
    try:
        yield
    except AnalysisError as error:
        raise PermanentError(error.code, error.message, details=error.details) from error


def _project_of(job: JobContext) -> UUID:
    if job.project_id is None:
        raise PermanentError("INVALID_INPUT", f"{job.job_type} needs a project")
    return job.project_id


def _no_project() -> PermanentError:
    message = "the job's user has no such project: it was deleted, or is somebody else's"
    return PermanentError("PROJECT_NOT_FOUND", message)


def _source(file: FileRow) -> SourceFile:
    if file.content is None:
        message = f"{file.name} is not stored here; upload it through the API"
        raise PermanentError("FILE_NOT_STORED", message, details={"files": [file.name]})
    return SourceFile(
        file.name, file.content, file.file_type if file.file_type in _RECOGNISED else None
    )


def _months(analysis: Analysis) -> Decimal | None:
    figure = analysis.figure("months")
    return None if figure is None else round(figure.value, 2)


def _row_texts(extraction: Extraction) -> Iterator[str]:
    """The rows as they are stored; made one by one, because there may be a million."""
    for line in extraction.invoice_lines:
        yield orjson.dumps(line.to_row()).decode()
    for haul in extraction.hauls:
        yield orjson.dumps(haul.to_row()).decode()


def _links(job_id: JobId) -> dict[str, str]:
    return {name: f"/api/jobs/{job_id}/reports/{name}" for name in ("html", "xlsx")}
