"""Who works, and whether the work moves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from wastewise_jobs.db.pool import Executor, Pool
from wastewise_jobs.in_words import count
from wastewise_jobs.monitoring.reading import bounded_read
from wastewise_jobs.monitoring.unserved import Unserved, unserved

_WORKERS = """
SELECT
    worker_id, name, host, pid, version, queues, concurrency, running, started_at,
    last_heartbeat_at, cpu_percent, memory_bytes, loop_lag_seconds, draining,
    last_heartbeat_at > now() - $1::interval AS alive
FROM public.job_workers
WHERE kind = 'worker'
ORDER BY started_at, worker_id
LIMIT 1000
"""
# Of callers of get_next_job nothing more is known than when they called last.
_EXTERNAL = """
SELECT worker_id
FROM public.job_workers
WHERE kind = 'external'
  AND last_heartbeat_at > now() - $1::interval
ORDER BY worker_id
LIMIT 1000
"""
_ALIVE = """
SELECT
    count(*) FILTER (WHERE kind = 'worker' AND NOT draining) AS workers,
    count(*) FILTER (WHERE kind = 'external') AS callers
FROM public.job_workers
WHERE last_heartbeat_at > now() - $1::interval
"""
# A job that ended in the last ten minutes, or one that has been due for as long and waits.
_MOVES = """
SELECT
    coalesce(
        (
            SELECT max(n.completed_at)
            FROM (
                SELECT a.completed_at, a.status
                FROM public.analysis_jobs a
                WHERE a.completed_at <= now()
                  AND a.completed_at > '2000-01-01 00:00:00+00'
                ORDER BY a.completed_at DESC
                LIMIT 1000
            ) AS n
            WHERE n.status IN ('completed', 'failed')
        ),
        -- Those were all cancelled: to the minute is good enough.
        (
            SELECT r.bucket_at
            FROM public.job_rollups r
            WHERE r.bucket_minutes = 1
              AND r.completed + r.failed > 0
            ORDER BY r.bucket_at DESC
            LIMIT 1
        )
    ) AS last_job_at,
    EXISTS (
        SELECT FROM public.due_kinds() d WHERE d.due_since < now() - interval '10 minutes'
    ) AS waited,
    public.undelivered_alerts() AS alerts_undelivered,
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
    """`unhealthy`: nobody is there. `degraded`: somebody is, but due jobs wait for nobody."""

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
    unserved: Sequence[Unserved]
    last_job_at: datetime | None
    waited: bool
    alerts_undelivered: int
    last_hour: int
    last_day: int
    read_at: datetime

    @property
    def status(self) -> FleetStatus:
        """An idle fleet on an empty queue is healthy."""
        if not self.alive_ids:
            return FleetStatus.UNHEALTHY
        if self.unserved or self._stands_still:
            return FleetStatus.DEGRADED
        return FleetStatus.HEALTHY

    @property
    def reasons(self) -> list[str]:
        """What is wrong, a line each; empty while nothing is."""
        reasons = [] if self.alive_ids else ["no worker is alive"]
        if self._stands_still:
            reasons.append("due jobs wait, and none has ended for 10 minutes")
        reasons += [one.words for one in self.unserved]
        if self.alerts_undelivered:
            reasons.append(undelivered_words(self.alerts_undelivered))
        return reasons

    @property
    def _stands_still(self) -> bool:
        moves = self.last_job_at is not None and self.read_at - self.last_job_at < _STANDS_STILL
        return self.waited and not moves

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
        async with bounded_read(self._pool) as connection:
            rows = await connection.fetch(_WORKERS, self._silent_after)
            external = await connection.fetch(_EXTERNAL, self._silent_after)
            left = await unserved(connection, self._silent_after)
            moves = await connection.fetchrow(_MOVES)
        if moves is None:
            raise RuntimeError("a SELECT without FROM gave no row")
        workers = [WorkerView(**dict(row)) for row in rows]
        alive = [worker.worker_id for worker in workers if worker.alive]
        callers = [row["worker_id"] for row in external]
        return Fleet(workers, [*alive, *callers], left, **dict(moves))


async def alive(executor: Executor, silent_after: timedelta) -> tuple[int, int]:
    """How many workers take new jobs, and how many callers of get_next_job there are."""
    row = await executor.fetchrow(_ALIVE, silent_after)
    return (row["workers"], row["callers"]) if row is not None else (0, 0)


def undelivered_words(alerts: int) -> str:
    """What everybody says of undelivered_alerts()."""
    return f"{count(alerts, 'alert')} could not be delivered"
