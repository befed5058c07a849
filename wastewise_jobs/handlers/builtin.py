"""The WasteWise job types: the hand-over from the queue to the analysis.

Reads and writes happen here, arithmetic in child processes (`offload`). A complete analysis writes
its rows, its reports, its project and its completion in one transaction: a reader never sees a
project that is done without its reports, and a second run of the same job replaces nothing.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar, TypeVarTuple
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
from wastewise_jobs.handlers.offload import Offload
from wastewise_jobs.handlers.registry import Jobs
from wastewise_jobs.jobs.model import JobId, JobTypeInfo
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.projects.analysis_store import AnalysisStore, FileRow
from wastewise_jobs.projects.model import MAX_FILES

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_PRUNED_AT_ONCE = 500
_RECOGNISED = {"invoice", "haul_log"}

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


class Builtin:
    """The handlers. They hold no connection while they compute."""

    def __init__(self, pool: Pool, offload: Offload) -> None:
        self._jobs = JobStore(pool)
        self._projects = AnalysisStore(pool)
        self._offload = offload

    async def invoice_extraction(self, job: JobContext, input: FilesInput) -> None:
        """Read the project's files into typed rows."""
        steps = Steps(job, "Loading files", "Reading rows", "Saving")
        steps.next()
        sources = await self._sources(job, input.files)
        steps.next()
        summary, rows = await self._compute(_extracted_rows, sources, input.choices)
        steps.next()
        async with job.transaction() as connection:
            await self._jobs.save_rows(job.id, rows, connection=connection)
            job.set_result({**summary, "rows": len(rows)})

    async def complete_analysis(self, job: JobContext, input: FilesInput) -> None:
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
        facts = await self._facts(job)
        sources = await self._sources(job, input.files)
        await self._projects.begin(project_id, user_id=job.user_id)
        steps.next()
        packed = await self._compute(_extracted, sources, input.choices)
        steps.next()
        analysis = await self._compute(_analysed, facts, packed)
        steps.next()
        html = await self._compute(render_html, analysis)
        steps.next()
        workbook, rows = await self._compute(_workbook_and_rows, analysis, packed)
        steps.next()
        result = {**analysis.to_json(), "reports": _links(job.id)}
        async with job.transaction() as connection:
            await self._jobs.save_rows(job.id, rows, connection=connection)
            await self._save_reports(job.id, html, workbook, connection)
            recorded = await self._projects.record(
                project_id,
                user_id=job.user_id,
                total_savings=round(analysis.annual_savings, 2),
                months=_months(analysis),
                connection=connection,
            )
            if not recorded:
                raise _no_project()
            job.set_result(result)

    async def report_generation(self, job: JobContext, input: ReportInput) -> None:
        """Build both reports again from a stored analysis."""
        steps = Steps(
            job, "Loading the analysis", "Drawing the report", "Writing the workbook", "Saving"
        )
        steps.next()
        stored = await self._projects.latest_analysis(
            _project_of(job), input.analysis_job_id, user_id=job.user_id
        )
        if stored is None:
            message = "the project has no such completed analysis; run complete_analysis first"
            raise PermanentError("NO_ANALYSIS", message)
        analysis, packed = await self._compute(_restored, stored.result, stored.rows)
        steps.next()
        html = await self._compute(render_html, analysis)
        steps.next()
        workbook, _ = await self._compute(_workbook_and_rows, analysis, packed)
        steps.next()
        async with job.transaction() as connection:
            await self._save_reports(job.id, html, workbook, connection)
            job.set_result({"analysisJobId": str(stored.job_id), "reports": _links(job.id)})

    async def cleanup(self, job: JobContext, input: CleanupInput) -> dict[str, int]:
        """Prune old finished jobs, a few hundred at a time."""
        if await self._jobs.is_foreign(job.id):
            raise PermanentError("FORBIDDEN", "only the service and admins may ask for a cleanup")
        pruned = 0
        while not job.cancelled:
            count = await self._jobs.prune(timedelta(days=input.older_than_days), _PRUNED_AT_ONCE)
            if count == 0:
                break
            pruned += count
            job.progress(50, f"Pruned {pruned} jobs")
        return {"pruned": pruned, "olderThanDays": input.older_than_days}

    async def _facts(self, job: JobContext) -> PropertyFacts:
        row = await self._projects.property_of(_project_of(job), user_id=job.user_id)
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

    async def _sources(self, job: JobContext, names: Sequence[str] | None) -> list[SourceFile]:
        found = await self._projects.files(
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

    async def _compute(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        with _refusals():
            return await self._offload.run(function, *args)

    async def _save_reports(
        self, job_id: JobId, html: str, workbook: bytes, connection: Connection
    ) -> None:
        for report_format, content in (("html", html.encode()), ("xlsx", workbook)):
            await self._jobs.save_report(job_id, report_format, content, connection=connection)


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


def builtin_jobs(pool: Pool, offload: Offload) -> Jobs:
    """Return the registry of the built-in job types."""
    handlers = Builtin(pool, offload)
    jobs = Jobs()
    register = jobs.handler
    register(
        "complete_analysis",
        timeout=timedelta(minutes=15),
        needs_project=True,
        description="Reads the project's files, measures, recommends, and builds both reports.",
    )(handlers.complete_analysis)
    register(
        "invoice_extraction",
        timeout=timedelta(minutes=10),
        needs_project=True,
        description="Reads the project's files into typed rows.",
    )(handlers.invoice_extraction)
    register(
        "report_generation",
        timeout=timedelta(minutes=10),
        priority=7,
        needs_project=True,
        description="Builds the reports again from the stored analysis.",
    )(handlers.report_generation)
    register(
        "cleanup",
        timeout=timedelta(hours=1),
        priority=9,
        admin_only=True,
        description="Prunes old finished jobs.",
    )(handlers.cleanup)
    return jobs


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


# What runs in the processes of an Offload. Between two of these an extraction stays packed: reading
# thousands of lines out of a pickle takes a tenth of a second, which the event loop does not have.
def _extracted(sources: Sequence[SourceFile], choices: Choices) -> bytes:
    return pickle.dumps(extract(sources, choices))


def _unpacked(packed: bytes) -> Extraction:
    extraction: Extraction = pickle.loads(packed)  # noqa: S301 - packed by a process of our own
    return extraction


def _extracted_rows(
    sources: Sequence[SourceFile], choices: Choices
) -> tuple[dict[str, Any], list[str]]:
    extraction = extract(sources, choices)
    return extraction.to_json(), _row_texts(extraction)


def _analysed(facts: PropertyFacts, packed: bytes) -> Analysis:
    return analyse(facts, _unpacked(packed))


def _workbook_and_rows(analysis: Analysis, packed: bytes) -> tuple[bytes, list[str]]:
    extraction = _unpacked(packed)
    return render_xlsx(analysis, extraction), _row_texts(extraction)


def _row_texts(extraction: Extraction) -> list[str]:
    return [orjson.dumps(row).decode() for row in extraction.rows()]


def _restored(result: dict[str, Any], rows: Sequence[dict[str, Any]]) -> tuple[Analysis, bytes]:
    return Analysis.from_json(result), pickle.dumps(Extraction.from_rows(rows, result))


def _links(job_id: JobId) -> dict[str, str]:
    return {name: f"/api/jobs/{job_id}/reports/{name}" for name in ("html", "xlsx")}
