"""Requests that arrive together are inserted together, each into a project of its own user."""

import asyncio
import contextvars
import time
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import asyncpg

from wastewise_jobs.db import quotas
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.batcher import MOST_IN_BATCH, Batcher, Wanted, tell
from wastewise_jobs.jobs.model import Enqueued, NewJob
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.projects.store import ProjectStore
from wastewise_jobs.web.api.writes import busy
from wastewise_jobs.web.http.problems import (
    OVERLOADED,
    PROJECT_NOT_FOUND,
    TOO_MANY_ENQUEUES,
    ProblemError,
    over_quota,
)

_MOST_WAITING = 5000
_MOST_BYTES_WAITING = 64 * 1024 * 1024
_MOST_OF_USER = 2000
_MOST_BYTES_OF_USER = 16 * 1024 * 1024
# Statements at once for users who met somebody's lock, and for how long they are kept apart.
_MOST_APART = 3
_HELD_SECONDS = 10.0


class EnqueueBatcher(Batcher):
    """A batcher that looks at projects and takes no more than the memory of this process."""

    def __init__(
        self,
        jobs: JobStore,
        projects: ProjectStore,
        pool: Pool,
        *,
        most_in_batch: int = MOST_IN_BATCH,
        most_waiting: int = _MOST_WAITING,
        most_of_user: int = _MOST_OF_USER,
        quota: bool = False,
    ) -> None:
        super().__init__(jobs, most_in_batch=most_in_batch)
        self._projects = projects
        self._pool = pool
        self._quota = quota
        self._most_waiting = most_waiting
        self._most_of_user = most_of_user
        self._places = asyncio.Semaphore(_MOST_APART)
        self._apart: set[asyncio.Task[None]] = set()
        self._held_until: dict[UUID | None, float] = {}

    async def enqueue(self, job: NewJob, *, any_project: bool = False) -> Enqueued:
        """Insert the job; its project must be its user's own, unless `any_project`.

        With `any_project` the job belongs to the project's owner, who is to see it. Raises
        ProblemError for a missing project, for an overload and for too much of one user,
        JobRefusedError for what a constraint refuses.
        """
        size = len(job.input_json)
        count_of_user, size_of_user = self.waiting.of(job.user_id)
        if count_of_user >= self._most_of_user or size_of_user + size > _MOST_BYTES_OF_USER:
            raise ProblemError(TOO_MANY_ENQUEUES, "too many of your jobs are being created at once")
        if (
            len(self.waiting) >= self._most_waiting
            or self.waiting.size + size > _MOST_BYTES_WAITING
        ):
            raise ProblemError(OVERLOADED, "too many jobs are being created; try again")
        return await super().enqueue(job, any_project=any_project)

    async def admit(self, batch: Sequence[Wanted]) -> Sequence[Wanted]:
        """Those whose project exists and is theirs; the others are told."""
        ids = {wanted.job.project_id for wanted in batch if wanted.job.project_id is not None}
        if not ids:
            return batch
        owners = await self._projects.owners(sorted(ids))
        admitted = []
        for wanted in batch:
            job, project_id = wanted.job, wanted.job.project_id
            if project_id is not None:
                owner = owners.get(project_id)
                if owner is None or not (wanted.any_project or owner == job.user_id):
                    wanted.refuse(
                        ProblemError(
                            PROJECT_NOT_FOUND, "there is no such project", field="projectId"
                        )
                    )
                    continue
                if owner != job.user_id:
                    wanted.job = replace(job, user_id=owner)
            admitted.append(wanted)
        return admitted

    async def insert(self, admitted: Sequence[Wanted]) -> None:
        """All in one statement; whoever needs what somebody holds waits apart from the others."""
        now = time.monotonic()
        apart = [w for w in admitted if self._held_until.get(w.job.user_id, now) > now]
        together = [w for w in admitted if w not in apart] if apart else admitted
        try:
            if together:
                tell(together, await self._insert(together))
        except asyncpg.LockNotAvailableError:
            apart += together
        for line in _by_user(apart):
            # In nobody's context, as the batch itself.
            task = asyncio.create_task(
                self._insert_apart(line), name="enqueue apart", context=contextvars.Context()
            )
            self._apart.add(task)
            task.add_done_callback(self._apart.discard)

    async def close(self) -> None:
        """Wait until everything that was accepted is answered."""
        await super().close()
        await asyncio.gather(*self._apart)

    async def _insert_apart(self, line: Sequence[Wanted]) -> None:
        user = line[0].job.user_id
        try:
            async with self._places:
                tell(line, await self._insert(line))
            self._held_until.pop(user, None)
        except asyncpg.LockNotAvailableError:
            if len(self._held_until) >= _MOST_WAITING:
                self._held_until.clear()
            self._held_until[user] = time.monotonic() + _HELD_SECONDS
            tell(line, [busy()] * len(line))
        except Exception as error:  # noqa: BLE001 - a loop's tick: they are told, and the others go on
            tell(line, [error] * len(line))

    async def _insert(self, batch: Sequence[Wanted]) -> Sequence[Enqueued | Exception]:
        if not self._quota:
            return await self.store.enqueue([wanted.job for wanted in batch])
        async with self._pool.acquire() as connection, connection.transaction():
            refused = await quotas.take_jobs(
                connection,
                # Admins have none.
                [None if wanted.any_project else wanted.job.user_id for wanted in batch],
                [wanted.job.idempotency_key for wanted in batch],
            )
            let_in = [wanted.job for at, wanted in enumerate(batch) if at not in refused]
            answers = iter(await self.store.enqueue(let_in, connection=connection))
            return [
                over_quota(refused[at]) if at in refused else next(answers)
                for at in range(len(batch))
            ]


def _by_user(batch: Sequence[Wanted]) -> list[list[Wanted]]:
    lines: dict[UUID | None, list[Wanted]] = {}
    for wanted in batch:
        lines.setdefault(wanted.job.user_id, []).append(wanted)
    return list(lines.values())
