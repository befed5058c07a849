"""What an analysis reads of its project, and what it writes back.

Every method takes the user whose project it must be: an id in a job is only a claim, and the
project may have changed hands since. None is for jobs of nobody, which only the service makes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from wastewise_jobs.db.pool import Connection, Executor

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

ROWS = "SELECT data FROM public.job_rows WHERE job_id = $1 ORDER BY position"


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


class AnalysisStore:
    """Reads and writes projects on behalf of the built-in handlers."""

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
        connection: Connection,
    ) -> bool:
        """Write the analysis' headline to the project; `total_savings` is in dollars a year.

        False, and nothing written, when the user has no such project any more.
        """
        row = await connection.fetchrow(RECORD, project_id, user_id, total_savings, months)
        return row is not None

    async def latest_analysis(
        self, project_id: UUID, job_id: UUID | None, *, user_id: UUID | None
    ) -> StoredAnalysis | None:
        """Return the project's newest completed analysis, or the one of that job."""
        row = await self._executor.fetchrow(LATEST_ANALYSIS, project_id, user_id, job_id)
        if row is None or not row["result_data"]:
            return None
        rows = await self._executor.fetch(ROWS, row["id"])
        return StoredAnalysis(row["id"], row["result_data"], [entry["data"] for entry in rows])
