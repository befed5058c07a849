"""Requests that arrive together are inserted together, each into a project of its own user."""

from collections.abc import Sequence
from dataclasses import replace

from wastewise_jobs.jobs.batcher import MOST_IN_BATCH, Batcher, Wanted
from wastewise_jobs.jobs.model import Enqueued, NewJob
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.projects.store import ProjectStore
from wastewise_jobs.web.problems import OVERLOADED, PROJECT_NOT_FOUND, ProblemError

_MOST_WAITING = 5000
_MOST_BYTES_WAITING = 64 * 1024 * 1024


class EnqueueBatcher(Batcher):
    """A batcher that looks at projects and takes no more than the memory of this process."""

    def __init__(
        self,
        jobs: JobStore,
        projects: ProjectStore,
        *,
        most_in_batch: int = MOST_IN_BATCH,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        super().__init__(jobs, most_in_batch=most_in_batch)
        self._projects = projects
        self._most_waiting = most_waiting

    async def enqueue(self, job: NewJob, *, any_project: bool = False) -> Enqueued:
        """Insert the job; its project must be its user's own, unless `any_project`.

        With `any_project` the job belongs to the project's owner, who is to see it. Raises
        ProblemError for a missing project and for an overload, JobRefusedError for what a
        constraint refuses.
        """
        if (
            len(self.waiting) >= self._most_waiting
            or self.bytes_waiting + len(job.input_json) > _MOST_BYTES_WAITING
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
