"""Asking whether a user may have more: projects, bytes in files, unfinished jobs.

The answer holds until the caller's transaction ends, and for whoever asks at the same time too.
"""

from collections.abc import Sequence
from uuid import UUID

from wastewise_jobs.db.pool import Connection, Executor
from wastewise_jobs.errors import QuotaExceededError

REFUSAL = """
SELECT quota, allowed, used
FROM public.quota_refusal($1::uuid, $2::bigint, $3::bigint, $4::bigint)
"""
JOB_REFUSALS = """
SELECT position, allowed, used
FROM public.quota_job_refusals($1::uuid[], $2::text[])
"""
SET = "SELECT public.set_quotas($1::bigint, $2::bigint, $3::bigint)"


async def take(
    connection: Connection, user: UUID, *, projects: int = 0, stored_bytes: int = 0, jobs: int = 0
) -> None:
    """Count so many more of each as the user's; raises QuotaExceededError where they are too many.

    Make them in the same transaction.
    """
    row = await connection.fetchrow(REFUSAL, user, projects, stored_bytes, jobs)
    if row is not None:
        raise QuotaExceededError(row["quota"], limit=row["allowed"], used=row["used"])


async def take_jobs(
    connection: Connection, users: Sequence[UUID | None], keys: Sequence[str | None]
) -> dict[int, QuotaExceededError]:
    """Count a job for each of these users; those that are too many, by their index.

    None is somebody without a quota. Which job came first counts, and none whose idempotency key
    was used before.
    """
    rows = await connection.fetch(JOB_REFUSALS, users, keys)
    return {
        row["position"] - 1: QuotaExceededError(
            "pending_jobs", limit=row["allowed"], used=row["used"]
        )
        for row in rows
    }


async def set_quotas(
    executor: Executor, *, projects: int, stored_bytes: int, pending_jobs: int
) -> None:
    """Let these hold from now on, for foreign writers too; 0 is without limit."""
    await executor.execute(SET, projects, stored_bytes, pending_jobs)
