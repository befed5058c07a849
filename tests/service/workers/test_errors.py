import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.support.waiting import eventually
from tests.support.workers import bench, everything_agrees
from wastewise_jobs import JobContext, Jobs, RetryableError


class Odd(BaseException):
    pass


class UnreadableError(Exception):
    @property
    def status(self) -> int:
        raise RuntimeError("not even this")

    def __str__(self) -> str:
        raise RuntimeError("nor this")


def nested() -> ExceptionGroup[Exception]:
    group: ExceptionGroup[Exception] = ExceptionGroup("inner", [ValueError("x")])
    for _ in range(5):
        group = ExceptionGroup("outer", [group])
    return group


@pytest.mark.parametrize("run_in", ["loop", "thread"])
async def test_whatever_a_handler_raises_ends_its_attempt_and_nothing_else(
    db: str, run_in: str
) -> None:
    jobs = Jobs()
    errors = [
        Odd(),
        KeyboardInterrupt(),
        GeneratorExit(),
        SystemExit(0),
        UnreadableError(),
        nested(),
    ]

    @jobs.handler("odd_async")
    async def odd_async(job: JobContext) -> None:
        raise errors.pop()

    @jobs.handler("odd_sync", run_in="thread")
    def odd_sync(job: JobContext) -> None:
        raise errors.pop()

    handler = odd_async if run_in == "loop" else odd_sync
    count = len(errors)
    async with bench(db, jobs) as b, b.worker(concurrency=1, threads=1) as worker:
        for _ in range(count):
            await handler.enqueue()
        await eventually(lambda: worker.stats.retried == count)
        # A claim that finds nothing holds its slot for as long as it takes.
        await eventually(lambda: (worker.stuck, worker.lanes[0].free) == (0, 1))
        await everything_agrees(b.pool)


async def test_a_count_that_no_column_holds_costs_no_result(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("spends")
    async def spends(job: JobContext) -> int:
        job.record_ai_usage(requests=10**12, tokens_input=10**30, tokens_output=10**30)
        return 5

    async with bench(db, jobs) as b, b.worker():
        job = await b.until((await spends.enqueue()).id, "completed", "failed")
    assert (job.status, job.result, job.ai_requests) == ("completed", 5, 2**31 - 1)


async def test_a_shutdown_settles_a_run_that_was_being_stopped_already(db: str) -> None:
    jobs = Jobs()
    go_on = threading.Event()

    @jobs.handler("deaf", run_in="thread", timeout=0.2, max_retries=3)
    def deaf(job: JobContext) -> None:
        go_on.wait(60)

    async with bench(db, jobs) as b:
        async with b.worker(stop_patience=timedelta(seconds=60)) as worker:
            job_id = (await deaf.enqueue()).id
            await eventually(lambda: worker.stats.timeouts == 1)
        job = await b.job(job_id)
        go_on.set()
        assert (job.status, job.error_code, job.crash_count) == ("pending", "TIMEOUT", 0)


@pytest.mark.parametrize(
    "change",
    [
        "priority = 1",
        "queue = 'other'",
        "created_at = created_at - interval '1 day'",
        "retry_after = now() + interval '1 hour'",
    ],
)
async def test_a_front_end_may_change_a_job_while_it_runs(db: str, change: str) -> None:
    jobs = Jobs()
    started, go_on = asyncio.Event(), asyncio.Event()

    @jobs.handler("long")
    async def long(job: JobContext) -> bool:
        started.set()
        await go_on.wait()
        return job.cancelled

    async with bench(db, jobs) as b, b.worker() as worker:
        await eventually(lambda: worker.listening)
        job_id = (await long.enqueue()).id
        await started.wait()
        await b.pool.execute(f"UPDATE analysis_jobs SET {change} WHERE id = $1", job_id)  # noqa: S608
        # Notifications come in order: whatever the update said is heard before this one.
        other = (await long.enqueue()).id
        await b.until(other, "processing")
        await b.store.cancel(other, user_id=None)
        await b.until(other, "cancelled")
        assert await b.status(job_id) == "processing"
        go_on.set()
        job = await b.until(job_id, "completed", "cancelled")
    assert (job.status, job.result) == ("completed", False)


HUGE = "x" * 2_000_000


def raises(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "harm",
    [
        lambda _: raises(ValueError(HUGE)),
        lambda _: raises(RetryableError(HUGE, code=HUGE, details={HUGE: HUGE})),
        lambda _: raises(type("E" * 100_000, (Exception,), {})(HUGE)),
        lambda _: raises(ExceptionGroup(HUGE, [ValueError(HUGE)] * 1000)),
        lambda _: {"result": HUGE},
        lambda _: HUGE,
        lambda job: job.log.error(HUGE, more=HUGE),
        lambda job: [job.progress(n % 100, HUGE[: n * 1000]) for n in range(2000)] and None,
    ],
)
async def test_whatever_a_handler_says_is_cut_to_what_can_be_kept(
    db: str, harm: Callable[[JobContext], object]
) -> None:
    jobs = Jobs()

    @jobs.handler("floods")
    def floods(job: JobContext) -> object:
        return harm(job)

    # What a line may hold is the business of the logs' own tests.
    with capture_logs():
        async with bench(db, jobs) as b, b.worker() as worker:
            job_id = (await floods.enqueue()).id
            await eventually(lambda: worker.stats.claimed == 1 and worker.running == 0, within=60)
            size = "SELECT octet_length(j::text) FROM analysis_jobs j WHERE id = $1"
            assert await b.pool.fetchval(size, job_id) < 100_000
            assert await b.status(job_id) in {"pending", "failed", "completed"}
