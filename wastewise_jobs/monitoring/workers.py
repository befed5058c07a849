"""Who works, and whether the work moves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from wastewise_jobs.db.pool import Pool
from wastewise_jobs.monitoring.reading import bounded_read

_WORKERS = """
SELECT
    worker_id, name, host, pid, version, queues, concurrency, running, started_at,
    last_heartbeat_at, cpu_percent, memory_bytes, loop_lag_seconds, draining,
    last_heartbeat_at > now() - $1::interval AS alive
FROM public.job_workers
ORDER BY started_at, worker_id
LIMIT 1000
"""
# Whoever claims by get_next_job has no row in job_workers, only jobs. Of the finished ones the
# newest are looked at: where more than that finish in five minutes, others are there to be seen.
_CLAIMERS = """
SELECT DISTINCT c.worker_id
FROM (
    SELECT j.worker_id, j.claimed_at
    FROM public.job_queue q
    CROSS JOIN LATERAL (
        SELECT a.worker_id, a.claimed_at FROM public.analysis_jobs a WHERE a.id = q.id OFFSET 0
    ) AS j
    WHERE q.leased
    UNION ALL
    (
        SELECT a.worker_id, a.claimed_at
        FROM public.analysis_jobs a
        WHERE a.completed_at > now() - $1::interval
        ORDER BY a.completed_at DESC
        LIMIT 1000
    )
) AS c
WHERE c.worker_id IS NOT NULL
  AND c.claimed_at > now() - $1::interval
ORDER BY c.worker_id
"""
# A job that ended in the last ten minutes, or one that has been due for as long and waits.
_MOVES = """
SELECT
    (
        SELECT a.completed_at
        FROM public.analysis_jobs a
        WHERE a.completed_at <= now()
          AND a.status IN ('completed', 'failed')
        ORDER BY a.completed_at DESC
        LIMIT 1
    ) AS last_job_at,
    EXISTS (
        SELECT
        FROM public.job_queue q
        WHERE NOT q.leased
          AND (q.due OR q.retry_after <= now())
          AND greatest(q.created_at, q.retry_after) < now() - interval '10 minutes'
    ) AS waited,
    (
        SELECT f.completed + f.failed
        FROM public.finished_jobs(now() - interval '1 hour') f
    ) AS last_hour,
    (
        SELECT f.completed + f.failed
        FROM public.finished_jobs(now() - interval '24 hours') f
    ) AS last_day,
    now() AS read_at
"""
_STANDS_STILL = timedelta(minutes=10)


class FleetStatus(StrEnum):
    """`unhealthy`: nobody is there. `degraded`: somebody is, but due jobs wait and none ends."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A row of job_workers; `alive` is whether its last heartbeat is recent enough."""

    worker_id: str
    name: str
    host: str
    pid: int
    version: str
    queues: Sequence[str]
    concurrency: int
    running: int
    started_at: datetime
    last_heartbeat_at: datetime
    cpu_percent: float | None
    memory_bytes: int | None
    loop_lag_seconds: float | None
    draining: bool
    alive: bool


@dataclass(frozen=True, slots=True)
class Fleet:
    """All workers together. `alive_ids` holds those that claim by get_next_job as well."""

    workers: Sequence[WorkerView]
    alive_ids: Sequence[str]
    last_job_at: datetime | None
    waited: bool
    last_hour: int
    last_day: int
    read_at: datetime

    @property
    def status(self) -> FleetStatus:
        """An idle fleet on an empty queue is healthy."""
        if not self.alive_ids:
            return FleetStatus.UNHEALTHY
        moves = self.last_job_at is not None and self.read_at - self.last_job_at < _STANDS_STILL
        return FleetStatus.DEGRADED if self.waited and not moves else FleetStatus.HEALTHY

    @property
    def minutes_since_last_job(self) -> float | None:
        """None when no job has ended, as far as is known."""
        if self.last_job_at is None:
            return None
        return max(0.0, (self.read_at - self.last_job_at).total_seconds() / 60)


class FleetStore:
    """Reads it; a worker whose last heartbeat is older than `silent_after` is not alive."""

    def __init__(self, pool: Pool, *, silent_after: timedelta = timedelta(minutes=5)) -> None:
        self._pool = pool
        self._silent_after = silent_after

    async def fleet(self) -> Fleet:
        """The fleet of this moment."""
        async with bounded_read(self._pool) as connection:
            rows = await connection.fetch(_WORKERS, self._silent_after)
            claimers = await connection.fetch(_CLAIMERS, timedelta(minutes=5))
            moves = await connection.fetchrow(_MOVES)
        if moves is None:
            raise RuntimeError("a SELECT without FROM gave no row")
        workers = [WorkerView(**dict(row)) for row in rows]
        registered = {worker.worker_id for worker in workers}
        alive = [worker.worker_id for worker in workers if worker.alive]
        others = [row[0] for row in claimers if row[0] not in registered]
        return Fleet(workers, [*alive, *others], **dict(moves))
