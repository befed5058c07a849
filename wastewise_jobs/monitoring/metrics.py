"""The figures of the queue: what waits, what runs, what finished."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wastewise_jobs.db.pool import Pool
from wastewise_jobs.monitoring.reading import bounded_read

_METRICS = "SELECT public.get_queue_metrics($1::text) AS metrics, now() AS read_at"


@dataclass(frozen=True, slots=True)
class QueueMetrics:
    """What `get_queue_metrics` says, and when."""

    figures: dict[str, Any]
    read_at: datetime


@dataclass(frozen=True, slots=True)
class Depth:
    """Unfinished jobs of a queue and priority; `state` is due, scheduled or processing."""

    queue: str
    priority: int
    state: str
    jobs: int
    oldest_due_seconds: float | None


class MetricsStore:
    """Reads the figures; `time_zone` decides when today began."""

    def __init__(self, pool: Pool, *, time_zone: str = "UTC") -> None:
        self._pool = pool
        self._time_zone = time_zone

    async def queue_metrics(self) -> QueueMetrics:
        async with bounded_read(self._pool) as connection:
            row = await connection.fetchrow(_METRICS, self._time_zone)
        if row is None:
            raise RuntimeError("a SELECT without FROM gave no row")
        return QueueMetrics(row["metrics"], row["read_at"])
