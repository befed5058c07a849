"""The only module that runs the transitions of a job and reads its rows.

Batches go in as parallel arrays. A method that settles says which jobs it won; a job that is not
named has lost its lease and nothing was written about it. Errors of PostgreSQL pass through: what
to repeat, and job by job or not, is the caller's decision, because it knows what can wait.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from wastewise_jobs.db.pool import Connection, Executor, Pool
from wastewise_jobs.errors import JobRefusedError, LeaseLostError
from wastewise_jobs.jobs import sql
from wastewise_jobs.jobs.ids import new_job_ids
from wastewise_jobs.jobs.model import (
    Cancellation,
    ClaimedJob,
    Disposition,
    Enqueued,
    JobFilter,
    JobId,
    JobView,
    NewJob,
    Progress,
    Requeueing,
    RescuedAs,
    RescuedJob,
    RetriedAs,
    Status,
)
from wastewise_jobs.jobs.outcome import Completed, Failed, RetryLater
from wastewise_jobs.jobs.storable import too_deep

# Of what others stored; whoever writes an answer of ours as JSON gives up at 255.
_DEEPEST = 200
# What a value of the job itself can cause; anything else is the database's trouble.
REFUSALS = (
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DataError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.StatementTooComplexError,
)


@dataclass(frozen=True, slots=True)
class LeaseNews:
    """What a heartbeat says about one job.

    Its lease is lost (not held), somebody wants it cancelled, or else the lease is held but could
    not be renewed, because somebody holds the row.
    """

    id: JobId
    held: bool
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of a retry; it is due at `retry_after` where it was retried."""

    id: JobId
    settled: RetriedAs
    retry_after: datetime | None


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll found.

    `kinds` are the (queue, job type) pairs that have due jobs, `due_in` the seconds until the next
    waiting job comes due (None: none waits), `expires_in` until the first lease expires if nobody
    renews it (None: no job is processing). Both are from before the rescue.
    """

    rescued: list[RescuedJob]
    kinds: list[tuple[str, str]]
    due_in: float | None
    expires_in: float | None


class JobStore:
    """Runs transitions and reads jobs, on a connection of the pool or on the given one."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def enqueue(
        self, jobs: Sequence[NewJob], *, connection: Connection | None = None
    ) -> list[Enqueued | JobRefusedError]:
        """Insert all jobs in one statement; answers in the order of the jobs.

        A job that a constraint refuses answers for itself (JobRefusedError in its place) and the
        others are inserted. With `connection` everything happens in the caller's transaction.
        """
        if not jobs:
            return []
        executor = connection or self._pool
        try:
            if connection is None:
                return await _enqueue(executor, jobs)
            # A savepoint: a refused job must not take the caller's transaction with it.
            async with connection.transaction():
                return await _enqueue(connection, jobs)
        except REFUSALS as error:
            if len(jobs) == 1:
                return [_refusal(error)]
        answers: list[Enqueued | JobRefusedError] = []
        for job in jobs:
            answers += await self.enqueue([job], connection=connection)
        return answers

    async def enqueue_alike(
        self, like: NewJob, inputs: Sequence[str], *, connection: Connection | None = None
    ) -> list[Enqueued | JobRefusedError]:
        """Insert a job per input in one statement, each otherwise `like` the one given.

        The same answers as from `enqueue`, at half the price. The id and the idempotency key of
        `like` are not used.
        """
        ids = new_job_ids(len(inputs))
        try:
            if connection is None:
                return await _enqueue_alike(self._pool, like, ids, inputs)
            async with connection.transaction():
                return await _enqueue_alike(connection, like, ids, inputs)
        except REFUSALS:
            # One of them is refused: each answers for itself.
            jobs = [
                replace(like, id=job_id, input_json=text)
                for job_id, text in zip(ids, inputs, strict=True)
            ]
            return await self.enqueue(jobs, connection=connection)

    async def claim(
        self,
        worker_id: str,
        queues: Sequence[str] | None,
        job_types: Sequence[str],
        limit: int,
        lease: timedelta,
        *,
        last_chance: bool = True,
        executor: Executor | None = None,
    ) -> list[ClaimedJob]:
        """Claim up to `limit` due jobs of these types, most urgent first; None: in all queues.

        At most one of them is on its last chance, and none without `last_chance`.
        """
        rows = await (executor or self._pool).fetch(
            sql.CLAIM, worker_id, queues, job_types, limit, lease, last_chance
        )
        return [ClaimedJob(*row) for row in rows]

    async def heartbeat(
        self, jobs: Sequence[ClaimedJob], lease: timedelta, *, executor: Executor | None = None
    ) -> list[LeaseNews]:
        """Renew the leases; names only the jobs of which there is something to say."""
        rows = await (executor or self._pool).fetch(sql.HEARTBEAT, *_leases(jobs), lease)
        return [LeaseNews(*row) for row in rows]

    async def progress(self, reports: Sequence[tuple[ClaimedJob, Progress]]) -> set[JobId]:
        """Record how far jobs are; returns those whose lease is held."""
        rows = await self._pool.fetch(
            sql.PROGRESS,
            *_leases([job for job, _ in reports]),
            [report.percent for _, report in reports],
            [report.step for _, report in reports],
            [report.steps_completed for _, report in reports],
            [report.total_steps for _, report in reports],
        )
        return {row[0] for row in rows}

    async def complete(
        self,
        outcomes: Sequence[tuple[ClaimedJob, Completed]],
        *,
        executor: Executor | None = None,
    ) -> set[JobId]:
        """Record completions; returns the jobs won."""
        results = [outcome.result_json for _, outcome in outcomes]
        usages = [outcome.ai_usage for _, outcome in outcomes]
        spent = any(usages)
        rows = await (executor or self._pool).fetch(
            sql.COMPLETE,
            *_leases([job for job, _ in outcomes]),
            results if any(result is not None for result in results) else None,
            [usage and usage.requests for usage in usages] if spent else None,
            [usage and usage.tokens_input for usage in usages] if spent else None,
            [usage and usage.tokens_output for usage in usages] if spent else None,
            [usage and _dollars(usage.cost_usd) for usage in usages] if spent else None,
        )
        return {row[0] for row in rows}

    async def completed_before(self, jobs: Sequence[ClaimedJob]) -> set[JobId]:
        """Return the jobs that were completed under these very leases."""
        return {row[0] for row in await self._pool.fetch(sql.COMPLETED_UNDER, *_leases(jobs))}

    async def retry(
        self, outcomes: Sequence[tuple[ClaimedJob, RetryLater]]
    ) -> dict[JobId, Retried]:
        """Send jobs back to wait for their next attempt; a job that is missing lost its lease."""
        rows = await self._pool.fetch(
            sql.RETRY,
            *_leases([job for job, _ in outcomes]),
            *_errors([outcome for _, outcome in outcomes]),
            [o.least_delay.total_seconds() if o.least_delay else None for _, o in outcomes],
        )
        return {
            job_id: Retried(job_id, RetriedAs(settled), retry_after)
            for job_id, settled, retry_after in rows
        }

    async def fail(self, outcomes: Sequence[tuple[ClaimedJob, Failed]]) -> set[JobId]:
        """Record jobs as failed for good; returns the jobs won."""
        rows = await self._pool.fetch(
            sql.FAIL,
            *_leases([job for job, _ in outcomes]),
            *_errors([outcome for _, outcome in outcomes]),
        )
        return {row[0] for row in rows}

    async def release(self, jobs: Sequence[ClaimedJob]) -> set[JobId]:
        """Give jobs back at once, no attempt charged; returns the jobs won."""
        return {row[0] for row in await self._pool.fetch(sql.RELEASE, *_leases(jobs))}

    async def release_unknown(
        self,
        worker_id: str,
        queues: Sequence[str] | None,
        job_types: Sequence[str],
        known: Sequence[ClaimedJob],
    ) -> set[JobId]:
        """Give back the leases of these kinds that the worker holds and does not know of.

        Returns their jobs. For after a claim whose answer was lost; no claim of these kinds may be
        under way.
        """
        rows = await self._pool.fetch(
            sql.RELEASE_UNKNOWN, worker_id, queues, job_types, *_leases(known)
        )
        return {row[0] for row in rows}

    async def cancel_running(self, jobs: Sequence[ClaimedJob]) -> set[JobId]:
        """Record as cancelled what somebody asked to cancel; returns the jobs won."""
        return {row[0] for row in await self._pool.fetch(sql.CANCEL_RUNNING, *_leases(jobs))}

    async def poll(self, limit: int = 500) -> Polled:
        """Rescue, and say what there is to claim; the poll of an idle worker."""
        rows = await self._pool.fetch(sql.POLL, limit)
        due_in, expires_in, queues, job_types, *_ = rows[0]
        rescued = [_rescued(*row[4:]) for row in rows if row["id"] is not None]
        kinds = list(zip(queues or (), job_types or (), strict=True))
        return Polled(rescued, kinds, due_in, expires_in)

    async def is_foreign(self, job_id: UUID) -> bool:
        """Whether what the job is about was said by a writer to whom row level security applies.

        Such a job is worth no more than its user, whatever it says.
        """
        return bool(await self._pool.fetchval(sql.FOREIGN, job_id))

    async def prune(self, older_than: timedelta, limit: int) -> int:
        """Delete up to `limit` finished jobs that ended longer ago than that; how many."""
        count: int = await self._pool.fetchval(sql.PRUNE, older_than, limit)
        return count

    async def hold(self, job: ClaimedJob, *, idle_limit: timedelta, connection: Connection) -> None:
        """Lock the job's row until the caller's transaction ends, as it does after `idle_limit`.

        That counts while PostgreSQL waits for the next statement. Raises LeaseLostError before the
        caller has written anything in vain.
        """
        milliseconds = str(max(round(idle_limit.total_seconds() * 1000), 1))
        if await connection.fetchval(sql.HOLD, job.id, job.fence, milliseconds) is None:
            raise LeaseLostError(job.id, job.fence)

    async def cancel(
        self, job_id: UUID, *, user_id: UUID | None, executor: Executor | None = None
    ) -> Cancellation | None:
        """Cancel the job, or ask its worker to; None when the user has no such job."""
        answer = await (executor or self._pool).fetchval(sql.CANCEL, job_id, user_id)
        return None if answer is None else Cancellation(answer)

    async def requeue(
        self, job_id: UUID, *, user_id: UUID | None, executor: Executor | None = None
    ) -> Requeueing | None:
        """Send a failed job round again; None when the user has no such job."""
        answer = await (executor or self._pool).fetchval(sql.REQUEUE, job_id, user_id)
        return None if answer is None else Requeueing(answer)

    async def get(self, job_id: UUID, *, user_id: UUID | None) -> JobView | None:
        """Return the job with its result; None when the user has no such job."""
        row = await self._pool.fetchrow(sql.GET, job_id, user_id)
        return _view(row) if row else None

    async def views(self, job_ids: Sequence[UUID]) -> list[JobView]:
        """Return these jobs without their results, in no order; missing ones are left out."""
        return [_view(row) for row in await self._pool.fetch(sql.VIEWS, job_ids)]

    async def list_jobs(
        self,
        wanted: JobFilter,
        *,
        limit: int,
        before: tuple[datetime | None, UUID] | None = None,
    ) -> list[JobView]:
        """Return up to `limit` jobs, newest first, without their results and failed attempts.

        `before` is the (created_at, id) of the last job of the page before.
        """
        created_before, id_before = before or (None, None)
        filters = (
            [str(status) for status in wanted.statuses] or None,
            wanted.job_type,
            wanted.project_id,
            created_before,
            id_before,
            limit,
        )
        if wanted.user_id is None:
            rows = await self._pool.fetch(sql.LIST_ALL, *filters)
        else:
            rows = await self._pool.fetch(sql.LIST_OF_USER, *filters, wanted.user_id)
        return [_view(row) for row in rows]


def _leases(jobs: Sequence[ClaimedJob]) -> tuple[list[JobId], list[int]]:
    return [job.id for job in jobs], [job.fence for job in jobs]


def _errors(
    outcomes: Sequence[RetryLater] | Sequence[Failed],
) -> tuple[list[str], list[str], list[str], list[str]]:
    return (
        [outcome.message for outcome in outcomes],
        [outcome.code for outcome in outcomes],
        [orjson.dumps(outcome.details).decode() for outcome in outcomes],
        [outcome.kind for outcome in outcomes],
    )


def _dollars(cost: float) -> Decimal | None:
    # By its shortest text: 0.2 is stored as 0.2, not as the binary fraction behind it.
    return Decimal(repr(cost)) if math.isfinite(cost) else None


async def _enqueue(executor: Executor, jobs: Sequence[NewJob]) -> list[Enqueued | JobRefusedError]:
    rows = await executor.fetch(
        sql.ENQUEUE,
        [job.id for job in jobs],
        [job.job_type for job in jobs],
        [job.input_json for job in jobs],
        *(_column(jobs, name) for name in sql.OPTIONAL_COLUMNS),
    )
    answers: list[Enqueued | None] = [None] * len(jobs)
    for position, job_id, status, priority, reason, created_at, disposition in rows:
        answers[position - 1] = Enqueued(
            job_id, Status(status), priority, reason, created_at, Disposition(disposition)
        )
    return [answer or _released_key() for answer in answers]


async def _enqueue_alike(
    executor: Executor, like: NewJob, ids: Sequence[JobId], inputs: Sequence[str]
) -> list[Enqueued | JobRefusedError]:
    count = len(ids)
    given = [getattr(like, name) for name in sql.OPTIONAL_COLUMNS]
    columns = [None if value is None else [value] * count for value in given]
    rows = await executor.fetch(sql.ENQUEUE_ALIKE, ids, [like.job_type] * count, inputs, *columns)
    answers: list[Enqueued | JobRefusedError] = [_released_key()] * count
    for priority, reason, created_at, positions in rows:
        for position in positions:
            job_id = ids[position - 1]
            answers[position - 1] = Enqueued(
                job_id, Status.PENDING, priority, reason, created_at, Disposition.CREATED
            )
    return answers


def _released_key() -> JobRefusedError:
    # The job that held the key was deleted between the two looks of the statement.
    message = "the idempotency key was released at this moment; repeat the request"
    return JobRefusedError("idempotency_key_released", message, field="idempotencyKey")


def _column(jobs: Sequence[NewJob], name: str) -> list[Any] | None:
    # A column that says nothing is sent as NULL: bulk jobs pay only for what they use.
    values = [getattr(job, name) for job in jobs]
    return None if all(value is None for value in values) else values


def _refusal(error: asyncpg.PostgresError) -> JobRefusedError:
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        field = "projectId" if "project_id" in (error.detail or "") else "userId"
        missing = "project" if field == "projectId" else "user"
        return JobRefusedError(f"{missing}_not_found", f"there is no such {missing}", field=field)
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return JobRefusedError(
            "constraint_violated", f"the database refused it: {error.constraint_name}"
        )
    return JobRefusedError(
        "input_not_storable", "PostgreSQL cannot store this value", field="inputData"
    )


def _rescued(
    job_id: JobId, job_type: str, worker_id: str | None, crash_count: int, settled: str
) -> RescuedJob:
    return RescuedJob(job_id, job_type, worker_id, crash_count, RescuedAs(settled))


def _view(row: asyncpg.Record) -> JobView:
    values = dict(row)
    details = _readable(values.pop("error_details_json"))
    errors = _readable(values.pop("retry_errors_json"))
    return JobView(
        result=_readable(values.pop("result_json")),
        # Whoever else writes the table may put any JSON there.
        error_details=details if isinstance(details, dict) else None,
        retry_errors=[e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else [],
        status=Status(values.pop("status")),
        **values,
    )


def _readable(text: str | None) -> Any:  # noqa: ANN401 - any JSON value
    """Decode one stored JSON text; one that no reader can decode harms only itself."""
    if text is None or too_deep(text, _DEEPEST):
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
