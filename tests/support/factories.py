"""Jobs for tests, and the question asked after most of them: do the two tables agree?"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from wastewise_jobs.db.pool import Connection, Executor
from wastewise_jobs.jobs.ids import new_job_id
from wastewise_jobs.jobs.model import ClaimedJob, Enqueued, JobId, NewJob, RescuedJob
from wastewise_jobs.jobs.store import JobStore

JOB_TYPES = ("complete_analysis", "invoice_extraction", "report_generation", "cleanup")
LEASE = timedelta(seconds=30)


def make_job(**overrides: Any) -> NewJob:
    values: dict[str, Any] = {"id": new_job_id(), "job_type": "complete_analysis"}
    return NewJob(**(values | overrides))


def at(*, minutes: float = 0, seconds: float = 0) -> datetime:
    """The moment that many minutes from now; negative ones are past."""
    return datetime.now(UTC) + timedelta(minutes=minutes, seconds=seconds)


async def enqueue(store: JobStore, *jobs: NewJob) -> list[Enqueued]:
    return [_accepted(answer) for answer in await store.enqueue(jobs)]


async def enqueue_one(store: JobStore, **overrides: Any) -> JobId:
    return (await enqueue(store, make_job(**overrides)))[0].id


async def claim(
    store: JobStore,
    limit: int = 1,
    *,
    worker_id: str = "w1",
    queues: Sequence[str] = ("default",),
    job_types: Sequence[str] = JOB_TYPES,
    lease: timedelta = LEASE,
    last_chance: bool = True,
) -> list[ClaimedJob]:
    return await store.claim(worker_id, queues, job_types, limit, lease, last_chance=last_chance)


async def make_running(store: JobStore, **overrides: Any) -> ClaimedJob:
    """A job that is enqueued and claimed by worker w1; nothing more urgent may be due."""
    job_id = await enqueue_one(store, **overrides)
    (job,) = await claim(store)
    assert job.id == job_id
    return job


async def cancel_run(store: JobStore, job: ClaimedJob) -> None:
    """Somebody asks to cancel a running job, and its worker records that."""
    assert await store.cancel(job.id, user_id=None) == "requested"
    assert await store.cancel_running([job]) == {job.id}


async def insert_plainly(connection: Executor, **columns: Any) -> JobId:
    """What the existing front end does: an INSERT that says only what it wants to say."""
    values = {"job_type": "complete_analysis", "status": "pending"} | columns
    names = ", ".join(values)
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    # Our own names, no input: the values are parameters.
    statement = f"INSERT INTO analysis_jobs ({names}) VALUES ({places}) RETURNING id"  # noqa: S608
    return JobId(await connection.fetchval(statement, *values.values()))


async def insert_project(connection: Executor, user_id: UUID, **columns: Any) -> UUID:
    values = {
        "user_id": user_id,
        "property_name": "Oak Court",
        "units": 200,
        "city": "Austin",
        "state": "TX",
    } | columns
    names = ", ".join(values)
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    statement = f"INSERT INTO projects ({names}) VALUES ({places}) RETURNING id"  # noqa: S608
    project_id: UUID = await connection.fetchval(statement, *values.values())
    return project_id


async def expire_leases(connection: Executor, *ids: JobId) -> None:
    """Let the time pass that these leases last, and that a rescue gives when it sees them."""
    await connection.execute(
        "UPDATE job_queue SET lease_expires_at = now() - interval '1 second', expired = true "
        "WHERE leased AND id = ANY ($1)",
        ids,
    )


async def come_due(connection: Connection, *ids: JobId) -> None:
    """Let the time pass that these waiting jobs wait for. Nobody writes: no trigger may notice."""
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        for table in ("analysis_jobs", "job_queue"):
            await connection.execute(
                f"UPDATE {table} SET retry_after = now() - interval '1 second' "  # noqa: S608
                "WHERE retry_after IS NOT NULL AND id = ANY ($1)",
                ids,
            )


async def rescue(store: JobStore, limit: int = 500) -> list[RescuedJob]:
    """What the look of an idle worker does on its way."""
    rows = await store._pool.fetch(
        "SELECT id, job_type, worker_id, crash_count, settled FROM public.rescue_jobs($1)", limit
    )
    return [RescuedJob(*row) for row in rows]


async def seconds_until_due(store: JobStore) -> float | None:
    """Until the next waiting job comes due, negative when overdue, None when none waits."""
    value: float | None = await store._pool.fetchval("SELECT public.seconds_until_due()")
    return value


async def job_row(connection: Executor, job_id: UUID) -> dict[str, Any]:
    row = await connection.fetchrow("SELECT * FROM analysis_jobs WHERE id = $1", job_id)
    assert row is not None
    return dict(row)


async def queue_row(connection: Executor, job_id: UUID) -> dict[str, Any] | None:
    row = await connection.fetchrow("SELECT * FROM job_queue WHERE id = $1", job_id)
    return dict(row) if row else None


async def stored_report(connection: Executor, job_id: UUID, report_format: str) -> bytes | None:
    statement = "SELECT content FROM job_reports WHERE job_id = $1 AND format = $2"
    content: bytes | None = await connection.fetchval(statement, job_id, report_format)
    return content


async def everything(connection: Executor) -> list[tuple[Any, ...]]:
    """Every row of both tables, to be compared with itself later."""
    return [
        tuple(row)
        for table in ("analysis_jobs", "job_queue", "projects")
        for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY id")  # noqa: S608
    ]


async def assert_invariant(connection: Executor) -> None:
    """A job_queue row exists exactly while its job is unfinished, and says the same."""
    rows = await connection.fetch(
        """
        SELECT j.id, to_jsonb(j) AS job, to_jsonb(q) AS queued
        FROM public.astray_jobs(public.unfinished_jobs()) AS a (id)
        LEFT JOIN analysis_jobs j ON j.id = a.id
        LEFT JOIN job_queue q ON q.id = a.id
        """
    )
    assert [dict(row) for row in rows] == []


def _accepted(answer: object) -> Enqueued:
    assert isinstance(answer, Enqueued), f"refused: {answer!r}"
    return answer
