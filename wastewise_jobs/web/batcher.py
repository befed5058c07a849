"""Requests that arrive together are inserted together.

While one batch is on its way to the database, the next one gathers: nobody waits for company, and
under load the batches grow by themselves. Every request gets its own answer; one that its client
gave up before its batch left is not inserted.
"""

import asyncio
import contextvars
from collections import deque
from dataclasses import dataclass, replace

from wastewise_jobs.errors import JobRefusedError
from wastewise_jobs.jobs.model import Enqueued, NewJob
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.projects.store import ProjectStore
from wastewise_jobs.web.problems import OVERLOADED, PROJECT_NOT_FOUND, ProblemError

_MOST_IN_BATCH = 500
_MOST_BYTES_IN_BATCH = 8 * 1024 * 1024
_MOST_WAITING = 5000
_MOST_BYTES_WAITING = 64 * 1024 * 1024
_BATCH_SECONDS = 25.0


@dataclass(frozen=True, slots=True)
class _Wanted:
    job: NewJob
    any_project: bool
    answer: "asyncio.Future[Enqueued]"


class EnqueueBatcher:
    """Enqueues jobs, as many as there are at the moment, in one statement."""

    def __init__(
        self,
        jobs: JobStore,
        projects: ProjectStore,
        *,
        most_in_batch: int = _MOST_IN_BATCH,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        self._jobs = jobs
        self._projects = projects
        self._most_in_batch = most_in_batch
        self._most_waiting = most_waiting
        self._waiting: deque[_Wanted] = deque()
        self._bytes_waiting = 0
        self._sending: asyncio.Task[None] | None = None

    async def enqueue(self, job: NewJob, *, any_project: bool) -> Enqueued:
        """Insert the job; its project must be its user's own, unless `any_project`.

        With `any_project` the job belongs to the project's owner, who is to see it. Raises
        ProblemError for a missing project and for an overload, JobRefusedError for what a
        constraint refuses.
        """
        if (
            len(self._waiting) >= self._most_waiting
            or self._bytes_waiting + len(job.input_json) > _MOST_BYTES_WAITING
        ):
            raise ProblemError(OVERLOADED, "too many jobs are being created; try again")
        wanted = _Wanted(job, any_project, asyncio.get_running_loop().create_future())
        self._waiting.append(wanted)
        self._bytes_waiting += len(job.input_json)
        if self._sending is None:
            # In nobody's context: a batch is not part of the request that happens to start it.
            self._sending = asyncio.create_task(
                self._send_all(), name="enqueue batches", context=contextvars.Context()
            )
        return await wanted.answer

    async def close(self) -> None:
        """Wait until everything that was accepted is answered."""
        if self._sending is not None:
            await asyncio.shield(self._sending)

    async def _send_all(self) -> None:
        try:
            while batch := self._next_batch():
                try:
                    async with asyncio.timeout(_BATCH_SECONDS):
                        await self._send(batch)
                except Exception as error:  # noqa: BLE001 - a loop's tick: its batch is told, the next goes on
                    for wanted in batch:
                        _refuse(wanted, error)
        finally:
            self._sending = None

    def _next_batch(self) -> list[_Wanted]:
        batch: list[_Wanted] = []
        size = 0
        while self._waiting and len(batch) < self._most_in_batch and size < _MOST_BYTES_IN_BATCH:
            wanted = self._waiting.popleft()
            self._bytes_waiting -= len(wanted.job.input_json)
            if not wanted.answer.done():
                batch.append(wanted)
                size += len(wanted.job.input_json)
        return batch

    async def _send(self, batch: list[_Wanted]) -> None:
        admitted = await self._with_projects(batch)
        answers = await self._jobs.enqueue([job for _, job in admitted])
        for (wanted, _), answer in zip(admitted, answers, strict=True):
            if isinstance(answer, JobRefusedError):
                _refuse(wanted, answer)
            elif not wanted.answer.done():
                wanted.answer.set_result(answer)

    async def _with_projects(self, batch: list[_Wanted]) -> list[tuple[_Wanted, NewJob]]:
        """Those whose project exists and is theirs; the others are told."""
        ids = {wanted.job.project_id for wanted in batch if wanted.job.project_id is not None}
        owners = await self._projects.owners(sorted(ids)) if ids else {}
        admitted = []
        for wanted in batch:
            job, project_id = wanted.job, wanted.job.project_id
            owner = job.user_id if project_id is None else owners.get(project_id)
            if project_id is not None and (
                owner is None or not (wanted.any_project or owner == job.user_id)
            ):
                _refuse(
                    wanted,
                    ProblemError(PROJECT_NOT_FOUND, "there is no such project", field="projectId"),
                )
                continue
            admitted.append((wanted, job if owner == job.user_id else replace(job, user_id=owner)))
        return admitted


def _refuse(wanted: _Wanted, error: Exception) -> None:
    if not wanted.answer.done():
        wanted.answer.set_exception(error)
