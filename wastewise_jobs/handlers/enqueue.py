"""Enqueues for a handler, in the caller's transaction or where the handler is bound.

Whoever enqueues also tells workers: the bound doorbell after the commit, or NOTIFY inside the
caller's transaction, which PostgreSQL sends with its commit.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import cast

from wastewise_jobs.db.doorbell import ring_within
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.errors import JobRefusedError
from wastewise_jobs.handlers.binding import Bindable
from wastewise_jobs.jobs.model import Disposition, Enqueued, NewJob
from wastewise_jobs.jobs.store import JobStore

# More in one statement gains nothing and holds its locks longer.
_ENQUEUED_TOGETHER = 1000
_STATEMENTS_UNDER_WAY = 2


async def enqueue(
    job: NewJob, *, where: Bindable, queue: str, connection: Connection | None
) -> Enqueued:
    """Enqueue one job and wake a worker of the queue; raises JobRefusedError."""
    if connection is None:
        # Whatever else is enqueued at this moment goes with it.
        answer: Enqueued | JobRefusedError = await where.binding.batcher.enqueue(job)
    else:
        (answer,) = await _store_on(connection).enqueue([job], connection=connection)
    await _tell(where, queue, connection)
    if isinstance(answer, JobRefusedError):
        raise answer
    if answer.disposition is Disposition.CONFLICT:
        raise JobRefusedError(
            "idempotency_key_conflict",
            f"the idempotency key was used for another request (job {answer.id})",
            field="idempotencyKey",
        )
    return answer


async def enqueue_many(
    like: NewJob,
    inputs: Sequence[str],
    *,
    where: Bindable,
    queue: str,
    connection: Connection | None,
) -> list[Enqueued | JobRefusedError]:
    """Enqueue one job per input, otherwise alike; the answers are in the order of the inputs."""
    answers: list[Enqueued | JobRefusedError] = []
    under_way: deque[asyncio.Task[list[Enqueued | JobRefusedError]]] = deque()
    # A connection takes one statement at a time.
    most = _STATEMENTS_UNDER_WAY if connection is None else 1
    try:
        for start in range(0, len(inputs), _ENQUEUED_TOGETHER):
            together = inputs[start : start + _ENQUEUED_TOGETHER]
            insertion = _enqueue_together(like, together, where, queue, connection)
            under_way.append(asyncio.create_task(insertion))
            # Sent now: PostgreSQL inserts these while the next ones are made here.
            await asyncio.sleep(0)
            if len(under_way) == most:
                answers += await under_way.popleft()
        while under_way:
            answers += await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
    return answers


async def _enqueue_together(
    like: NewJob,
    inputs: Sequence[str],
    where: Bindable,
    queue: str,
    connection: Connection | None,
) -> list[Enqueued | JobRefusedError]:
    store = where.binding.store if connection is None else _store_on(connection)
    answers = await store.enqueue_alike(like, inputs, connection=connection)
    await _tell(where, queue, connection)
    return answers


def _store_on(connection: Connection) -> JobStore:
    # It needs no pool for statements on a connection that is given.
    return JobStore(cast("Pool", connection))


async def _tell(where: Bindable, queue: str, connection: Connection | None) -> None:
    if connection is None:
        where.binding.ring(queue)
    elif where.notifies:
        await ring_within(connection, queue)
