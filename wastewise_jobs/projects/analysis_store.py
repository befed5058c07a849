"""What an analysis reads of its project, and what it writes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from wastewise_jobs.db.pool import Connection, Pool

PROPERTY = """
SELECT
    property_name, units, city, state, property_type, equipment_type, containers,
    container_yards, pickups_per_week
FROM public.projects
WHERE id = $1
"""

# Files of an existing database may live elsewhere: their content is NULL here.
FILES = """
SELECT f.file_name, f.file_type, c.content
FROM public.project_files f
LEFT JOIN public.project_file_contents c ON c.file_id = f.id
WHERE f.project_id = $1
  AND ($2::text[] IS NULL OR f.file_name = ANY ($2))
ORDER BY f.file_name, f.id
"""

BEGIN = """
UPDATE public.projects
SET status = 'processing',
    error_message = NULL,
    updated_at = now()
WHERE id = $1
"""

RECORD = """
UPDATE public.projects
SET status = 'completed',
    progress = 100,
    total_savings = $2,
    analysis_period_months = $3,
    error_message = NULL,
    updated_at = now()
WHERE id = $1
"""

LATEST_ANALYSIS = """
SELECT id, result_data
FROM public.analysis_jobs
WHERE project_id = $1
  AND job_type = 'complete_analysis'
  AND status = 'completed'
  AND ($2::uuid IS NULL OR id = $2)
ORDER BY completed_at DESC
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
    rows: Sequence[dict[str, object]]


class AnalysisStore:
    """Reads and writes projects on behalf of the built-in handlers."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def property_of(self, project_id: UUID) -> PropertyRow | None:
        """Return the property, or None when the project is gone."""
        row = await self._pool.fetchrow(PROPERTY, project_id)
        return PropertyRow(*row) if row else None

    async def files(self, project_id: UUID, names: Sequence[str] | None) -> list[FileRow]:
        """Return the project's files, all or those of these names, in the order of their names."""
        return [FileRow(*row) for row in await self._pool.fetch(FILES, project_id, names)]

    async def begin(self, project_id: UUID) -> None:
        """Show on the project that an analysis runs."""
        await self._pool.execute(BEGIN, project_id)

    async def record(
        self,
        project_id: UUID,
        *,
        total_savings: Decimal,
        months: Decimal | None,
        connection: Connection,
    ) -> None:
        """Write the analysis' headline to the project; `total_savings` is in dollars a year."""
        await connection.execute(RECORD, project_id, total_savings, months)

    async def latest_analysis(self, project_id: UUID, job_id: UUID | None) -> StoredAnalysis | None:
        """Return the project's newest completed analysis, or the one of that job."""
        row = await self._pool.fetchrow(LATEST_ANALYSIS, project_id, job_id)
        if row is None or not row["result_data"]:
            return None
        rows = await self._pool.fetch(ROWS, row["id"])
        return StoredAnalysis(row["id"], row["result_data"], [entry["data"] for entry in rows])
