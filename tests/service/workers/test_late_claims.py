"""A claim whose answer is heard after its lease: the job is not run under it."""

import time
from typing import Any

import pytest

from tests.support.workers import QUICK, bench
from wastewise_jobs import JobContext, Jobs
from wastewise_jobs.jobs.store import JobStore


async def test_a_claim_that_is_heard_too_late_is_given_back_unrun(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs()
    fences: list[int] = []
    claim = JobStore.claim

    @jobs.handler("notes_its_fence")
    async def notes_its_fence(job: JobContext) -> None:
        fences.append(job._job.fence)

    async def block_once(self: JobStore, *args: Any, **options: Any) -> Any:
        claimed = await claim(self, *args, **options)
        if claimed and claimed[0].fence == 1:
            # Another handler blocks the loop while the answer is on its way.
            time.sleep(QUICK["lease"].total_seconds())  # noqa: ASYNC251
        return claimed

    monkeypatch.setattr(JobStore, "claim", block_once)
    async with bench(db, jobs) as b, b.worker() as worker:
        job_id = (await notes_its_fence.enqueue()).id
        await b.until(job_id, "completed")
        assert fences == [2]
        assert worker.stats.released == 1
