"""What an analysis reads of its project, and what it writes: back to it, and beside its job.

Every method about a project takes the user whose project it must be: an id in a job is only a
claim, and the project may have changed hands since. None is for jobs of nobody, which only the
service makes. Rows and reports are a job's: whoever asks for them has seen the job.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from wastewise_jobs.db.pool import Executor

# A statement's values are in memory twice, here and on their way.
_ROWS_AT_ONCE = 2000

PROPERTY = """
SELECT
    property_name, units, city, state, property_type, equipment_type, containers,
    container_yards, pickups_per_week
FROM public.projects
WHERE id = $1
  AND ($2::uuid IS NULL OR user_id = $2)
"""

# Files of an existing database may live elsewhere: their content is NULL here.
FILES = """
SELECT f.file_name, f.file_type, c.content
FROM public.project_files f
JOIN public.projects p ON p.id = f.project_id
LEFT JOIN public.project_file_contents c ON c.file_id = f.id
WHERE f.project_id = $1
  AND ($2::uuid IS NULL OR p.user_id = $2)
  AND ($3::text[] IS NULL OR f.file_name = ANY ($3))
ORDER BY f.file_name, f.id
LIMIT $4
"""

BEGIN = """
UPDATE public.projects
SET status = 'processing',
    error_message = NULL,
    updated_at = now()
WHERE id = $1
  AND ($2::uuid IS NULL OR user_id = $2)
"""

RECORD = """
UPDATE public.projects
SET status = 'completed',
    progress = 100,
    total_savings = $3,
    analysis_period_months = $4,
    error_message = NULL,
    updated_at = now()
WHERE id = $1
  AND ($2::uuid IS NULL OR user_id = $2)
RETURNING id
"""

LATEST_ANALYSIS = """
SELECT j.id, j.result_data
FROM public.analysis_jobs j
JOIN public.projects p ON p.id = j.project_id
WHERE j.project_id = $1
  AND j.job_type = 'complete_analysis'
  AND j.status = 'completed'
  AND ($2::uuid IS NULL OR p.user_id = $2)
  AND (j.user_id IS NULL OR j.user_id = p.user_id)
  AND ($3::uuid IS NULL OR j.id = $3)
ORDER BY j.completed_at DESC
LIMIT 1
"""

ALL_ROWS = "SELECT data FROM public.job_rows WHERE job_id = $1 ORDER BY position"

DELETE_ROWS = "DELETE FROM public.job_rows WHERE job_id = $1"

INSERT_ROWS = """
INSERT INTO public.job_rows (job_id, position, data)
SELECT $1, $3::integer + r.position, r.data::jsonb
FROM unnest($2::text[]) WITH ORDINALITY AS r (data, position)
"""

ROWS = """
SELECT position, data
FROM public.job_rows
WHERE job_id = $1
  AND position > $2
ORDER BY position
LIMIT $3
"""

SAVE_REPORT = """
INSERT INTO public.job_reports (job_id, format, content)
VALUES ($1, $2, $3)
ON CONFLICT (job_id, format) DO UPDATE
SET content = EXCLUDED.content,
    created_at = now()
"""

OPEN_REPORT = """
SELECT
    octet_length(r.content) AS size, r.xmin::text AS version,
    substring(r.content FROM 1 FOR $3) AS head
FROM public.job_reports r
WHERE r.job_id = $1
  AND r.format = $2
"""

# Nothing where the report was replaced or deleted since it was opened.
READ_REPORT = """
SELECT substring(r.content FROM $4 FOR $5)
FROM public.job_reports r
WHERE r.job_id = $1
  AND r.format = $2
  AND r.xmin::text = $3
"""


@dataclass(frozen=True, slots=True)
class PropertyRow:
    """The property as the project's owner described it."""

    name: str
    units: int
    city: str
    state: str
    property_type: str | None
    equipment_type: str | None
    containers: int | None
    container_yards: Decimal | None
    pickups_per_week: Decimal | None


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file of the project; `content` is None when it is not stored in this database."""

    name: str
    file_type: str
    content: bytes | None


@dataclass(frozen=True, slots=True)
class StoredAnalysis:
    """A completed analysis: its job, its result and the rows it was made of."""

    job_id: UUID
    result: dict[str, object]
    rows: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report and its beginning; `version` is of what was found at that moment."""

    job_id: UUID
    format: str
    size: int
    version: str
    head: bytes


class AnalysisStore:
    """Reads and writes on behalf of the built-in handlers; reads their rows and reports."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def property_of(self, project_id: UUID, *, user_id: UUID | None) -> PropertyRow | None:
        """Return the property, or None when the user has no such project."""
        row = await self._executor.fetchrow(PROPERTY, project_id, user_id)
        return PropertyRow(*row) if row else None

    async def files(
        self, project_id: UUID, names: Sequence[str] | None, *, user_id: UUID | None, limit: int
    ) -> list[FileRow]:
        """Return the project's files, all or those of these names, in the order of their names."""
        rows = await self._executor.fetch(FILES, project_id, user_id, names, limit)
        return [FileRow(*row) for row in rows]

    async def begin(self, project_id: UUID, *, user_id: UUID | None) -> None:
        """Show on the project that an analysis runs."""
        await self._executor.execute(BEGIN, project_id, user_id)

    async def record(
        self,
        project_id: UUID,
        *,
        user_id: UUID | None,
        total_savings: Decimal,
        months: Decimal | None,
    ) -> bool:
        """Write the analysis' headline to the project; `total_savings` is in dollars a year.

        False, and nothing written, when the user has no such project any more.
        """
        row = await self._executor.fetchrow(RECORD, project_id, user_id, total_savings, months)
        return row is not None

    async def latest_analysis(
        self, project_id: UUID, job_id: UUID | None, *, user_id: UUID | None
    ) -> StoredAnalysis | None:
        """Return the project's newest completed analysis, or the one of that job."""
        row = await self._executor.fetchrow(LATEST_ANALYSIS, project_id, user_id, job_id)
        if row is None or not row["result_data"]:
            return None
        rows = await self._executor.fetch(ALL_ROWS, row["id"])
        return StoredAnalysis(row["id"], row["result_data"], [entry["data"] for entry in rows])

    async def save_rows(self, job_id: UUID, rows: Iterable[str]) -> int:
        """Replace the rows that the job's extraction read, each given as JSON; how many.

        In several statements: for a transaction.
        """
        await self._executor.execute(DELETE_ROWS, job_id)
        count, left = 0, iter(rows)
        while chunk := list(islice(left, _ROWS_AT_ONCE)):
            await self._executor.execute(INSERT_ROWS, job_id, chunk, count)
            count += len(chunk)
        return count

    async def rows(self, job_id: UUID, *, after: int, limit: int) -> list[tuple[int, Any]]:
        """Return (position, row) pairs behind position `after`; positions count from 1."""
        rows = await self._executor.fetch(ROWS, job_id, after, limit)
        return [(row["position"], row["data"]) for row in rows]

    async def save_report(self, job_id: UUID, report_format: str, content: bytes) -> None:
        """Store or replace the job's report in that format (html or xlsx)."""
        await self._executor.execute(SAVE_REPORT, job_id, report_format, content)

    async def open_report(
        self, job_id: UUID, report_format: str, *, piece: int
    ) -> StoredReport | None:
        """Return the report with its first `piece` bytes; None when the job has none."""
        row = await self._executor.fetchrow(OPEN_REPORT, job_id, report_format, piece)
        return StoredReport(job_id, report_format, *row) if row else None

    async def read_report(self, report: StoredReport, start: int, *, piece: int) -> bytes | None:
        """Return the next bytes; None when the report is no longer the one that was opened."""
        content: bytes | None = await self._executor.fetchval(
            READ_REPORT, report.job_id, report.format, report.version, start + 1, piece
        )
        return content
