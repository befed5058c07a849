"""The row of this worker in `job_workers`: who is there, and how it is. No job depends on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from wastewise_jobs.db.pool import Executor

# The row may have been pruned while this worker was cut off: it comes back whole.
_BEAT = """
INSERT INTO public.job_workers AS w (
    worker_id, name, host, pid, version, queues, job_types, concurrency, running, cpu_percent,
    memory_bytes, loop_lag_seconds, draining
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (worker_id) DO UPDATE
SET last_heartbeat_at = now(),
    running = excluded.running,
    cpu_percent = excluded.cpu_percent,
    memory_bytes = excluded.memory_bytes,
    loop_lag_seconds = excluded.loop_lag_seconds,
    draining = excluded.draining
"""

_GOODBYE = "DELETE FROM public.job_workers WHERE worker_id = $1"


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """What does not change while the worker lives; `worker_id` is new at every start."""

    worker_id: str
    name: str
    host: str
    pid: int
    version: str
    queues: Sequence[str]
    job_types: Sequence[str]
    concurrency: int


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """How the worker is now."""

    running: int
    cpu_percent: float
    memory_bytes: int
    loop_lag_seconds: float
    draining: bool


class WorkerStore:
    """Writes the worker's row."""

    async def beat(
        self, identity: WorkerIdentity, health: WorkerHealth, *, executor: Executor
    ) -> None:
        """Insert the row or bring it up to date."""
        await executor.execute(
            _BEAT,
            identity.worker_id,
            identity.name,
            identity.host,
            identity.pid,
            identity.version,
            list(identity.queues),
            list(identity.job_types),
            identity.concurrency,
            health.running,
            health.cpu_percent,
            health.memory_bytes,
            health.loop_lag_seconds,
            health.draining,
        )

    async def goodbye(self, worker_id: str, *, executor: Executor) -> None:
        """Remove the row of a worker that stopped in good order."""
        await executor.execute(_GOODBYE, worker_id)
