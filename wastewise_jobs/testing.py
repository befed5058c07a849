"""Helpers for people who write handlers: run one without a database, or everything that is due.

done = await perform(send_bill, Bill(total=3))
assert done.result == {"sent": True}

await send_bill.enqueue(Bill(total=3), connection=connection)
assert (await drain(jobs, pool)).completed == 1
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.handlers.context import JobContext
from wastewise_jobs.handlers.handler import Handler
from wastewise_jobs.handlers.registry import Jobs
from wastewise_jobs.jobs.ids import new_job_id
from wastewise_jobs.jobs.model import AiUsage, ClaimedJob, Progress
from wastewise_jobs.jobs.storable import dump_json
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.workers.event_log import EventLog
from wastewise_jobs.workers.journal import Journal
from wastewise_jobs.workers.lanes import LastChance, make_lanes
from wastewise_jobs.workers.places.entries import make_entries
from wastewise_jobs.workers.places.processes import Processes
from wastewise_jobs.workers.places.threads import Threads
from wastewise_jobs.workers.stats import WorkerStats
from wastewise_jobs.workers.supervisor import Supervisor

__all__ = ["Performed", "drain", "perform"]

_WORKER_ID = "drain"
_SLOTS = 20
_LEASE = timedelta(hours=1)


@dataclass(slots=True)
class Performed:
    """What a handler did: its result, and what it said on the way."""

    result: Any = None
    progress: list[Progress] = field(default_factory=list)
    ai_usage: AiUsage | None = None


async def perform(
    handler: Handler[..., Any],
    input: BaseModel | Mapping[str, object] | None = None,
    *,
    user_id: UUID | None = None,
    project_id: UUID | None = None,
    attempt: int = 1,
    cancelled: bool = False,
    connection: Connection | None = None,
) -> Performed:
    """Run the handler once as a worker would, in this loop, without a database.

    The input is validated as at enqueue, the result checked for what PostgreSQL can store; whatever
    the handler raises is raised. `job.transaction()` needs `connection` and is a savepoint there.
    """
    job = ClaimedJob(
        id=new_job_id(),
        fence=1,
        job_type=handler.job_type,
        queue=handler.options.queue,
        user_id=user_id,
        project_id=project_id,
        input_json=handler.input_json(input),
        retry_count=attempt - 1,
        max_retries=handler.info().max_retries,
        crash_count=0,
        timeout_seconds=None,
        priority=handler.options.priority,
        created_at=datetime.now(UTC),
        waited_seconds=0.0,
    )
    performed = Performed()
    context = JobContext(job, _TestLink(performed, connection))
    if cancelled:
        context.cancel()
    given = (handler.parse_input(job.input_json),) if handler.signature.wants_input else ()
    if handler.signature.is_async:
        result = await handler.function(context, *given)
    else:
        result = await asyncio.to_thread(handler.function, context, *given)
    performed.result = context.result if context.completed else result
    performed.ai_usage = context.ai_usage
    dump_json(performed.result)
    return performed


class _TestLink:
    def __init__(self, performed: Performed, connection: Connection | None) -> None:
        self._performed = performed
        self._connection = connection

    def report_progress(self, _context: JobContext, progress: Progress) -> None:
        self._performed.progress.append(progress)

    @asynccontextmanager
    async def transaction(self, context: JobContext) -> AsyncIterator[Connection]:
        async with self.connection() as connection, connection.transaction():
            yield connection
        context.completed = True

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        if self._connection is None:
            raise RuntimeError("job.transaction() needs perform(..., connection=)")
        yield self._connection


async def drain(jobs: Jobs, pool: Pool) -> WorkerStats:
    """Run every due job of these handlers, each once, and return the counts.

    What the jobs enqueue meanwhile is run too. Failed attempts wait for their retry as usual.
    """
    stats, log = WorkerStats(), EventLog()
    store = JobStore(pool)
    threads, processes = Threads("drain"), Processes(store, log_level="INFO", log_format="auto")
    supervisor = Supervisor(
        pool,
        store,
        entries=make_entries(jobs, threads, processes),
        lease=_LEASE,
        patience=5.0,
        last_chance=LastChance(),
        journal=Journal(stats.take, log.take),
        on_worn_out=lambda _: None,
    )
    capacities = {handler.options.run_in: _SLOTS for handler in jobs}
    lanes = make_lanes(jobs, capacities=capacities, queues=None)
    background = [asyncio.create_task(loop(), name=name) for name, loop in supervisor.background()]
    try:
        while True:
            found = 0
            for lane in lanes:
                claimed = await store.claim(_WORKER_ID, None, lane.job_types, _SLOTS, _LEASE)
                lane.take(len(claimed))
                if claimed:
                    supervisor.start(lane, claimed, float("inf"))
                    await supervisor.quiet()
                found += len(claimed)
            if not found:
                return stats
    finally:
        for task in background:
            task.cancel()
        await asyncio.wait(background)
        log.summarize()
        threads.stop()
        processes.stop()
