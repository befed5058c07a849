"""What finished, bucket by bucket, from rollups that outlive the jobs themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from wastewise_jobs.db.pool import Pool
from wastewise_jobs.monitoring.reading import bounded_read

STEP = timedelta(minutes=15)
MOST_BUCKETS = 1000

_TRENDS = """
SELECT
    bucket_at, job_type, completed, failed, cancelled, retried, wait_p50, wait_p95, run_p50, run_p95
FROM public.job_trends($1::interval, $2::interval)
"""

_STATE = "SELECT rolled_up_until, now() AS read_at FROM public.schema_info"


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One job type in one bucket; times in seconds, None where no job says anything of it."""

    bucket_at: datetime
    job_type: str
    completed: int
    failed: int
    cancelled: int
    retried: int
    wait_p50: float | None
    wait_p95: float | None
    run_p50: float | None
    run_p95: float | None


@dataclass(frozen=True, slots=True)
class History:
    """The points in order of time; what finished after `rolled_up_until` is not in them yet."""

    points: Sequence[TrendPoint]
    rolled_up_until: datetime | None
    read_at: datetime


class TrendStore:
    """Reads the history."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def trends(self, window: timedelta, bucket: timedelta) -> History:
        """The points of the window; both are multiples of STEP."""
        async with bounded_read(self._pool) as connection:
            rows = await connection.fetch(_TRENDS, window, bucket)
            state = await connection.fetchrow(_STATE)
        if state is None:
            raise RuntimeError("schema_info has lost its row")
        return History([TrendPoint(**dict(row)) for row in rows], **dict(state))
