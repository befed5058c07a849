"""Any order of events: several workers, people and the passing of time against a model in Python.

The promises of the design are asked after every step: one accepted outcome per job and round, a
finished job changes only by requeueing or an operator, fences never fall, nothing stale is written,
and the two tables agree.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.support.factories import (
    LEASE,
    assert_invariant,
    claim,
    come_due,
    enqueue,
    expire_leases,
    make_job,
    rescue,
)
from tests.support.queue_model import FINISHED, Job, Loop
from wastewise_jobs.db.pool import Connection, Pool, create_pool
from wastewise_jobs.jobs.model import CRASHES, ClaimedJob, JobId, Progress
from wastewise_jobs.jobs.outcome import Completed, Failed, RetryLater
from wastewise_jobs.jobs.store import JobStore

T = TypeVar("T")
RETRY = RetryLater("X", "x", "retryable")
FAILED = Failed("X", "x", "permanent")
STATUSES = ("pending", "processing", *FINISHED)
EMPTY = "TRUNCATE analysis_jobs CASCADE"
# A rescue's delay, a millisecond or a second, must not end while we look.
HOLD_BACK = tuple(
    f"UPDATE {table} SET retry_after = now() + interval '1 hour' "  # noqa: S608
    "WHERE id = ANY ($1) AND retry_after IS NOT NULL"
    for table in ("analysis_jobs", "job_queue")
)


class Queue(RuleBasedStateMachine):
    jobs = Bundle("jobs")
    # A job and one of the leases that were given on it: the last, or one that is older.
    picks = st.tuples(jobs, st.integers(0, 2))

    loop: ClassVar[Loop]
    pool: ClassVar[Pool]
    person: ClassVar[Connection]

    def __init__(self) -> None:
        super().__init__()
        self.store = JobStore(self.pool)
        self.model: dict[JobId, Job] = {}
        self.leases: dict[JobId, list[ClaimedJob]] = {}
        self.run(self.person.execute(EMPTY))

    def run(self, work: Awaitable[T]) -> T:
        return self.loop.run(work)

    def held(self, lease: ClaimedJob) -> Job | None:
        job = self.model.get(lease.id)
        return job if job and job.status == "processing" and job.fence == lease.fence else None

    def picked(self, *picks: tuple[JobId, int]) -> list[ClaimedJob]:
        """The leases, one a job, of those that were ever claimed; the job may be gone."""
        found = {}
        for job_id, age in picks:
            if leases := self.leases.get(job_id):
                found[job_id] = leases[-1 - min(age, len(leases) - 1)]
        return list(found.values())

    @initialize(target=jobs)
    def begin(self) -> MultipleResults[JobId]:
        made = self.enqueue_some([5, 5, 3, 8, 1], 2)
        self.claim("w1", 3)
        return multiple(*made)

    @rule(
        target=jobs,
        priorities=st.lists(st.integers(1, 10), min_size=1, max_size=4),
        max_retries=st.integers(0, 2),
    )
    def enqueue(self, priorities: list[int], max_retries: int) -> MultipleResults[JobId]:
        return multiple(*self.enqueue_some(priorities, max_retries))

    def enqueue_some(self, priorities: list[int], max_retries: int) -> list[JobId]:
        new = [make_job(priority=p, max_retries=max_retries) for p in priorities]
        answers = self.run(enqueue(self.store, *new))
        for a in answers:
            self.model[a.id] = Job(a.id, a.priority, a.created_at, max_retries)
        return [a.id for a in answers]

    @rule(worker=st.sampled_from(["w1", "w2", "w3"]), limit=st.integers(1, 5))
    def claim(self, worker: str, limit: int) -> None:
        due = [job for job in self.model.values() if job.status == "pending" and job.due]
        due.sort(key=lambda job: (job.priority, job.created_at, job.id.bytes))
        last_chances = [job for job in due if job.crashes >= CRASHES - 1]
        due = [job for job in due if job not in last_chances[1:]]
        claimed = self.run(claim(self.store, limit, worker_id=worker))
        assert [job.id for job in claimed] == [job.id for job in due[:limit]]
        for job, lease in zip(due, claimed, strict=False):
            job.status, job.due, job.fence = "processing", False, job.fence + 1
            assert (lease.fence, lease.retry_count) == (job.fence, job.retries)
            self.leases.setdefault(job.id, []).append(lease)

    @rule(picks=st.lists(picks, min_size=1, max_size=4))
    def heartbeat(self, picks: list[tuple[JobId, int]]) -> None:
        batch = self.picked(*picks)
        beats = self.run(self.store.heartbeat(batch, LEASE))
        expected = set()
        for lease in batch:
            job = self.held(lease)
            if job is None:
                expected.add((lease.id, False, False))
            else:
                job.expired = False
                if job.cancel_requested:
                    expected.add((lease.id, True, True))
        assert {(beat.id, beat.held, beat.cancel_requested) for beat in beats} == expected

    @rule(pick=picks)
    def progress(self, pick: tuple[JobId, int]) -> None:
        for lease in self.picked(pick):
            won = self.run(self.store.progress([(lease, Progress(50, "half"))]))
            assert won == ({lease.id} if self.held(lease) else set())

    @rule(picks=st.lists(picks, min_size=1, max_size=4))
    def complete(self, picks: list[tuple[JobId, int]]) -> None:
        batch = self.picked(*picks)
        held = [job for lease in batch if (job := self.held(lease))]
        won = self.run(self.store.complete([(lease, Completed("1")) for lease in batch]))
        assert won == {job.id for job in held}
        for job in held:
            job.end("completed")

    @rule(picks=st.lists(picks, min_size=1, max_size=4))
    def retry(self, picks: list[tuple[JobId, int]]) -> None:
        batch = self.picked(*picks)
        answers = self.run(self.store.retry([(lease, RETRY) for lease in batch]))
        expected = {}
        for job in (job for lease in batch if (job := self.held(lease))):
            if job.cancel_requested:
                expected[job.id] = "cancelled"
                job.end("cancelled")
            elif job.retries < job.max_retries:
                expected[job.id] = "retried"
                job.retries += 1
                job.wait(due=False)
            else:
                expected[job.id] = "exhausted"
        assert {job_id: answer.settled for job_id, answer in answers.items()} == expected

    @rule(pick=picks, how=st.sampled_from(["fail", "release", "cancel_running"]))
    def settle(self, pick: tuple[JobId, int], how: str) -> None:
        for lease in self.picked(pick):
            job = self.held(lease)
            match how:
                case "fail":
                    won = self.run(self.store.fail([(lease, FAILED)]))
                case "release":
                    won = self.run(self.store.release([lease]))
                case _:
                    won = self.run(self.store.cancel_running([lease]))
            if how == "cancel_running" and job and not job.cancel_requested:
                # A worker that was misinformed: nobody asked.
                job = None
            assert won == ({lease.id} if job else set())
            if job is None:
                continue
            if job.cancel_requested:
                job.end("cancelled")
            elif how == "fail":
                job.end("failed")
            else:
                job.wait(due=True)

    @rule(picked=jobs)
    def a_worker_stops_renewing(self, picked: JobId) -> None:
        job = self.model.get(picked)
        if job and job.status == "processing":
            self.run(expire_leases(self.person, job.id))
            job.expired = True

    @rule()
    def rescue(self) -> None:
        expected = {}
        for job in self.model.values():
            if job.expired:
                job.crashes += 1
                if job.cancel_requested:
                    expected[job.id] = "cancelled"
                    job.end("cancelled")
                elif job.crashes >= 3:
                    expected[job.id] = "failed"
                    job.end("failed")
                else:
                    expected[job.id] = "rescued"
                    job.wait(due=False)
        rescued = self.run(rescue(self.store))
        self.run(self.hold_back([r.id for r in rescued]))
        assert {r.id: r.settled for r in rescued} == expected

    async def hold_back(self, ids: list[JobId]) -> None:
        async with self.person.transaction():
            await self.person.execute("SET LOCAL session_replication_role = replica")
            for statement in HOLD_BACK:
                await self.person.execute(statement, ids)

    @rule()
    def time_passes(self) -> None:
        waiting = [j for j in self.model.values() if j.status == "pending" and not j.due]
        self.run(come_due(self.person, *(job.id for job in waiting)))
        for job in waiting:
            job.due = True

    @rule(job_id=jobs, act=st.sampled_from(["cancel", "cancel", "requeue", "requeue", "retry"]))
    def a_person_acts(self, job_id: JobId, act: str) -> None:
        acts = {"cancel": self.cancel, "requeue": self.requeue}
        acts.get(act, self.an_operator_schedules_a_retry)(job_id)

    @rule(job_id=jobs, what=st.sampled_from([*STATUSES, *range(1, 11), None]))
    def somebody_writes_plainly(self, job_id: JobId, what: str | int | None) -> None:
        match what:
            case str():
                self.an_operator_sets_the_status(job_id, what)
            case int():
                self.somebody_changes_the_priority(job_id, what)
            case None:
                self.somebody_deletes_the_job(job_id)

    def cancel(self, job_id: JobId) -> None:
        job = self.model.get(job_id)
        answer = self.run(self.store.cancel(job_id, user_id=None))
        if job is None:
            assert answer is None
        elif job.status == "pending":
            assert answer == "cancelled"
            job.cancel_requested = True
            job.end("cancelled")
        elif job.status == "processing":
            assert answer == "requested"
            job.cancel_requested = True
        else:
            assert answer == "finished"

    def requeue(self, job_id: JobId) -> None:
        job = self.model.get(job_id)
        answer = self.run(self.store.requeue(job_id, user_id=None))
        if job is None or job.status != "failed":
            assert answer == (None if job is None else "not_failed")
        else:
            assert answer == "requeued"
            job.begin_round()
            job.retries = job.crashes = 0
            job.wait(due=True)

    def an_operator_sets_the_status(self, job_id: JobId, status: str) -> None:
        change = "UPDATE analysis_jobs SET status = $2, retry_after = NULL WHERE id = $1"
        self.run(self.person.execute(change, job_id, status))
        job = self.model.get(job_id)
        if job is None:
            return
        if job.status != status:
            job.fence += 1
            if status not in FINISHED:
                job.begin_round()
        job.status, job.due = status, status == "pending"
        job.expired = job.expired and status == "processing"
        job.ended_as = None

    def an_operator_schedules_a_retry(self, job_id: JobId) -> None:
        call = "SELECT schedule_job_retry($1, 'by hand')"
        answer = self.run(self.person.fetchval(call, job_id))
        job = self.model.get(job_id)
        possible = (
            job is not None
            and job.status in ("pending", "processing", "failed")
            and job.retries < job.max_retries
            and not (job.status == "processing" and job.cancel_requested)
        )
        assert answer is possible
        if job and possible:
            job.begin_round()
            job.fence += 1
            job.retries += 1
            job.wait(due=False)

    def somebody_changes_the_priority(self, job_id: JobId, priority: int) -> None:
        change = "UPDATE analysis_jobs SET priority = $2 WHERE id = $1"
        self.run(self.person.execute(change, job_id, priority))
        if job := self.model.get(job_id):
            job.priority, job.ended_as = priority, None

    def somebody_deletes_the_job(self, job_id: JobId) -> None:
        self.run(self.person.execute("DELETE FROM analysis_jobs WHERE id = $1", job_id))
        self.model.pop(job_id, None)

    @rule()
    def repair(self) -> None:
        assert self.run(self.person.fetchval("SELECT repair_job_queue()")) == 0

    @invariant()
    def the_database_is_what_the_model_says(self) -> None:
        rows = self.run(self.person.fetch("SELECT * FROM analysis_jobs"))
        assert {row["id"] for row in rows} == set(self.model)
        for row in rows:
            job = self.model[row["id"]]
            assert self.said(row) == (
                job.status,
                job.fence,
                job.retries,
                job.crashes,
                job.cancel_requested,
                job.priority,
            )
            assert job.accepted <= 1
            if job.status in FINISHED:
                # Never touched again but by requeueing or an operator, who both forget this.
                job.ended_as = job.ended_as or tuple(row)
                assert tuple(row) == job.ended_as
        self.run(assert_invariant(self.person))

    @staticmethod
    def said(row: asyncpg.Record) -> tuple[Any, ...]:
        columns = ("status", "fence", "retry_count", "crash_count")
        requested = row["cancel_requested_at"] is not None
        return (*(row[column] for column in columns), requested, row["priority"])


@contextmanager
def running(dsn: str) -> Iterator[None]:
    Queue.loop = Loop()
    try:
        Queue.pool = Queue.loop.run(_start(lambda: create_pool(dsn, max_size=3)))
        Queue.person = Queue.loop.run(asyncpg.connect(dsn))
        yield
        Queue.loop.run(Queue.person.close())
        Queue.loop.run(Queue.pool.close())
    finally:
        Queue.loop.close()


async def _start(make: Callable[[], Pool]) -> Pool:
    return await make()


# Five thousand steps: half a minute, and on a busy machine more than the limit of a test.
@pytest.mark.timeout(600)
def test_any_order_of_events_keeps_the_promises(queue_db: str) -> None:
    with running(queue_db):
        run_state_machine_as_test(
            Queue,
            settings=settings(
                max_examples=100,
                stateful_step_count=50,
                deadline=None,
                database=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
