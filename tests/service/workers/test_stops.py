"""Everything that ends a run from outside: cancellation, lost leases, timeouts, shutdown."""

import asyncio
import contextlib
import threading
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

from structlog.testing import capture_logs

from tests.support.waiting import eventually
from tests.support.workers import QUICK, Bench, bench, everything_agrees
from wastewise_jobs import JobContext, Jobs

SLOW: dict[str, Any] = {
    "lease": timedelta(seconds=90),
    "heartbeat_interval": timedelta(seconds=30),
}
NEVER = timedelta(seconds=60)
EXPIRE = """
UPDATE job_queue SET lease_expires_at = now() - interval '1 s', expired = true WHERE id = $1
"""


async def test_cancelling_a_running_job_stops_its_handler(db: str) -> None:
    jobs = Jobs()
    started, seen = asyncio.Event(), asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> None:
        started.set()
        await job.wait_cancelled()
        assert job.cancelled
        seen.set()
        await asyncio.Event().wait()

    async with bench(db, jobs) as b, b.worker(heartbeat_interval=timedelta(seconds=30)) as worker:
        await eventually(lambda: worker.listening)
        job_id = (await waits.enqueue()).id
        await started.wait()
        assert await b.store.cancel(job_id, user_id=None) == "requested"
        await asyncio.wait_for(seen.wait(), 2)
        job = await b.until(job_id, "cancelled", within=5)
        assert job.error_code is None
        await eventually(lambda: worker.stats.cancelled == 1)
        await everything_agrees(b.pool)


async def test_a_request_in_a_plain_update_is_heard_at_once(db: str) -> None:
    jobs = Jobs()
    started = asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> None:
        started.set()
        await asyncio.Event().wait()

    async with bench(db, jobs) as b, b.worker(poll_interval=NEVER, **SLOW) as worker:
        await eventually(lambda: worker.listening)
        job_id = (await waits.enqueue()).id
        await started.wait()
        await b.pool.execute(
            "UPDATE analysis_jobs SET cancel_requested_at = now() WHERE id = $1", job_id
        )
        await b.until(job_id, "cancelled", within=5)


async def test_a_notification_that_nobody_asked_for_stops_nothing(db: str) -> None:
    jobs = Jobs()
    runs: list[int] = []
    started, go_on = asyncio.Event(), asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> bool:
        runs.append(job.attempt)
        started.set()
        await go_on.wait()
        return job.cancelled

    async with bench(db, jobs) as b, b.worker(poll_interval=NEVER, **SLOW) as worker:
        await eventually(lambda: worker.listening)
        job_id = (await waits.enqueue()).id
        await started.wait()
        for words in (str(job_id), str(uuid4()), "no id at all"):
            await b.pool.execute("SELECT pg_notify('wastewise_cancel', $1)", words)
        # It makes the worker look, half a minute before it would have: the look finds nothing.
        looked = "SELECT count(*) > 0 FROM job_workers WHERE running = 1"
        await eventually(lambda: b.pool.fetchval(looked))
        go_on.set()
        job = await b.until(job_id, "completed", "cancelled")
    assert (job.status, job.result, runs) == ("completed", False, [1])


async def test_a_request_that_is_taken_back_gives_the_job_back(db: str) -> None:
    jobs = Jobs()
    started, told, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> int:
        if started.is_set():
            return job.attempt
        started.set()
        await job.wait_cancelled()
        told.set()
        with contextlib.suppress(asyncio.CancelledError):
            await go_on.wait()
        await go_on.wait()
        return 0

    async with bench(db, jobs) as b, b.worker(stop_patience=timedelta(seconds=60)) as worker:
        await eventually(lambda: worker.listening)
        job_id = (await waits.enqueue()).id
        await started.wait()
        await b.store.cancel(job_id, user_id=None)
        await told.wait()
        await b.pool.execute("UPDATE analysis_jobs SET cancel_requested_at = NULL")
        go_on.set()
        job = await b.until(job_id, "completed", "cancelled")
    assert (job.status, job.result, worker.stats.released) == ("completed", 1, 1)


async def test_without_notifications_a_cancellation_is_seen_with_the_poll(db: str) -> None:
    jobs = Jobs()
    started = asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> None:
        started.set()
        await asyncio.Event().wait()

    async with bench(db, jobs, notify=False) as b, b.worker(notify=False, **SLOW):
        job_id = (await waits.enqueue()).id
        await started.wait()
        await b.store.cancel(job_id, user_id=None)
        await b.until(job_id, "cancelled", within=5)


async def test_a_function_in_a_thread_is_told(db: str) -> None:
    jobs = Jobs()
    started = threading.Event()

    @jobs.handler("waits")
    def waits(job: JobContext) -> str:
        started.set()
        while not job.cancelled:
            time.sleep(0.01)
        return "stopped early"

    async with bench(db, jobs) as b, b.worker() as worker:
        job_id = (await waits.enqueue()).id
        await eventually(started.is_set)
        await b.store.cancel(job_id, user_id=None)
        job = await b.until(job_id, "cancelled")
        assert job.result is None
        assert worker.stats.stuck == 0


async def test_a_cancelled_job_that_fails_is_not_retried(db: str) -> None:
    jobs = Jobs()
    started, go_on = asyncio.Event(), asyncio.Event()

    @jobs.handler("fails")
    async def fails(job: JobContext) -> None:
        started.set()
        await go_on.wait()
        raise TimeoutError

    # Nothing tells the worker of the request before it settles.
    async with bench(db, jobs, notify=False) as b:
        job_id = (await fails.enqueue()).id
        async with b.worker(notify=False, poll_interval=NEVER, **SLOW):
            await started.wait()
            await b.store.cancel(job_id, user_id=None)
            go_on.set()
            job = await b.until(job_id, "cancelled")
            assert job.retry_count == 0


async def test_whoever_lost_its_lease_is_stopped_and_its_outcome_dropped(db: str) -> None:
    jobs = Jobs()
    runs: list[int] = []
    started, stopped, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> int:
        runs.append(job.attempt)
        if len(runs) == 1:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()
        await go_on.wait()
        return len(runs)

    # A long lease: only the heartbeat's answer can tell in time.
    async with bench(db, jobs) as b, b.worker(lease=timedelta(seconds=90)) as worker:
        job_id = (await waits.enqueue()).id
        await started.wait()
        await _give_to_another_worker(b, job_id)
        await asyncio.wait_for(stopped.wait(), 5)
        await eventually(lambda: worker.stats.lease_lost == 1)
        job = await b.job(job_id)
        assert (job.status, job.worker_id, job.crash_count) == ("processing", "another", 1)
        assert worker.running == 0


async def test_an_outcome_that_comes_too_late_is_dropped(db: str) -> None:
    """The handler ends before anybody noticed: only the fence can tell."""
    jobs = Jobs()
    started, go_on = asyncio.Event(), asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> str:
        started.set()
        await go_on.wait()
        return "too late"

    async with bench(db, jobs) as b, b.worker(**SLOW) as worker:
        job_id = (await waits.enqueue()).id
        await started.wait()
        await _give_to_another_worker(b, job_id)
        go_on.set()
        await eventually(lambda: worker.stats.lease_lost == 1)
        job = await b.job(job_id)
        assert (job.status, job.worker_id, job.result) == ("processing", "another", None)
        assert worker.stats.completed == 0


async def test_a_transaction_under_a_lost_lease_writes_nothing(db: str) -> None:
    jobs = Jobs()
    started, go_on = asyncio.Event(), asyncio.Event()

    @jobs.handler("bill")
    async def bill(job: JobContext) -> None:
        started.set()
        await go_on.wait()
        async with job.transaction() as connection:
            await connection.execute("INSERT INTO bills VALUES (1)")

    async with bench(db, jobs) as b, b.worker(**SLOW) as worker:
        await b.pool.execute("CREATE TABLE bills (n int)")
        job_id = (await bill.enqueue()).id
        await started.wait()
        await _give_to_another_worker(b, job_id)
        go_on.set()
        await eventually(lambda: worker.stats.lease_lost == 1)
        assert await b.pool.fetchval("SELECT count(*) FROM bills") == 0
        assert await b.status(job_id) == "processing"


async def test_a_transaction_that_hears_nothing_for_a_lease_lets_its_job_go(db: str) -> None:
    """As when its worker is cut off in the middle: nobody could rescue the job."""
    jobs = Jobs()
    opened = asyncio.Event()

    @jobs.handler("bill")
    async def bill(job: JobContext) -> None:
        async with job.transaction() as connection:
            await connection.execute("INSERT INTO bills VALUES (1)")
            opened.set()
            await eventually(connection.is_closed)
            await connection.execute("INSERT INTO bills VALUES (2)")

    async with bench(db, jobs) as b, b.worker() as worker:
        await b.pool.execute("CREATE TABLE bills (n int)")
        job_id = (await bill.enqueue()).id
        await opened.wait()
        await eventually(lambda: worker.stats.retried == 1)
        job = await b.job(job_id)
        assert (job.status, job.crash_count) == ("pending", 0)
        assert await b.pool.fetchval("SELECT count(*) FROM bills") == 0
        # The connection is replaced by one that works.
        await everything_agrees(b.pool)


async def _give_to_another_worker(b: Bench, job_id: object) -> None:
    """The row as a rescue and another claim leave it, in one transaction."""
    async with b.pool.acquire() as connection, connection.transaction():
        await connection.execute(EXPIRE, job_id)
        await connection.execute("SELECT rescue_jobs(10)")
        await connection.execute(
            "UPDATE job_queue SET due = true, retry_after = NULL WHERE id = $1", job_id
        )
        await connection.execute(
            "UPDATE analysis_jobs SET retry_after = NULL WHERE id = $1", job_id
        )
        claimed = await connection.fetch(
            "SELECT id FROM claim_jobs('another', NULL, NULL, 1, interval '1 minute')"
        )
        assert [row["id"] for row in claimed] == [job_id]


async def test_a_handler_that_blocks_the_loop_keeps_its_job(db: str) -> None:
    jobs = Jobs()
    runs: list[int] = []

    @jobs.handler("blocks")
    async def blocks(job: JobContext) -> None:
        runs.append(job.attempt)
        (run,) = worker._supervisor.unsettled
        renewed_twice = run.lease_until + 2 * QUICK["lease"].total_seconds()
        while time.monotonic() < run.lease_until < renewed_twice:
            time.sleep(0.01)  # noqa: ASYNC251 - that is the point

    async with bench(db, jobs) as b:
        with capture_logs() as logs:
            async with b.worker() as worker:
                job_id = (await blocks.enqueue()).id
                job = await b.until(job_id, "completed")
                assert (runs, job.crash_count, job.retry_count) == ([1], 0, 0)
                assert worker.stats.lease_lost == 0
                assert worker.stats.longest_loop_lag_seconds > 1
        (line,) = [line for line in logs if line["event"] == "loop_blocked"]
        assert any("test_stops" in frame for frame in line["at"])


async def test_a_handler_that_blocked_the_loop_past_its_timeout_did_not_complete(db: str) -> None:
    jobs = Jobs()
    free = threading.Event()

    @jobs.handler("blocks", timeout=0.2, max_retries=0)
    async def blocks(job: JobContext) -> str:
        free.set()
        while time.monotonic() < max(run.deadline for run in worker._supervisor.unsettled):
            time.sleep(0.01)  # noqa: ASYNC251 - that is the point
        return "too late"

    @jobs.handler("in_time", timeout=2.5)
    def in_time(job: JobContext) -> str:
        free.wait(10)
        return "in time"

    async with bench(db, jobs) as b, b.worker(**SLOW) as worker:
        waiting = (await in_time.enqueue()).id
        await eventually(lambda: worker.running == 1)
        blocking = (await blocks.enqueue()).id
        job = await b.until(blocking, "failed")
        assert (job.error_code, job.result, worker.stats.timeouts) == ("TIMEOUT", None, 1)
        # It ended in time, although the loop heard of it only when it was free again.
        assert (await b.until(waiting, "completed")).result == "in time"


async def test_a_handler_whose_lease_nobody_confirms_is_stopped_before_it_ends(db: str) -> None:
    jobs = Jobs()
    started, stopped = asyncio.Event(), asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    # The first renewal would come long after the end of the lease.
    async with bench(db, jobs) as b, b.worker(heartbeat_interval=NEVER, poll_interval=NEVER):
        job_id = (await waits.enqueue()).id
        await b.pool.execute("SELECT pg_notify('wastewise_wake', 'default')")
        await started.wait()
        await asyncio.wait_for(stopped.wait(), 5)
        expired = await b.pool.fetchval(
            "SELECT lease_expires_at < now() FROM job_queue WHERE id = $1", job_id
        )
        assert expired is not True


async def test_a_handler_that_swallows_cancellation_is_settled_without_it(db: str) -> None:
    jobs = Jobs()
    go_on = asyncio.Event()

    @jobs.handler("stubborn", timeout=0.2, max_retries=0)
    async def stubborn(job: JobContext) -> str:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        return "too late"

    @jobs.handler("plain")
    async def plain(job: JobContext) -> None: ...

    async with bench(db, jobs) as b, b.worker(concurrency=2) as worker:
        job_id = (await stubborn.enqueue()).id
        job = await b.until(job_id, "failed")
        assert job.error_code == "TIMEOUT"
        assert (worker.stats.stuck, worker.stuck) == (1, 1)
        await b.until((await plain.enqueue()).id, "completed")
        # The slot of a job comes back a moment after its completion.
        await eventually(lambda: worker.lanes[0].free == 1)
        go_on.set()
        await eventually(lambda: worker.stuck == 0 and worker.lanes[0].free == 2)
        assert (await b.job(job_id)).status == "failed"
        assert worker.stats.completed == 1


async def test_a_worker_whose_slots_are_all_stuck_stops_to_be_restarted(db: str) -> None:
    jobs = Jobs()
    go_on = threading.Event()

    @jobs.handler("hangs", timeout=0.2, max_retries=0)
    def hangs(job: JobContext) -> None:
        go_on.wait(30)

    async with bench(db, jobs) as b:
        async with b.worker(threads=2) as worker:
            for _ in range(2):
                await hangs.enqueue()
            await eventually(lambda: worker.draining)
        assert worker.stats.failed == 2
        go_on.set()


async def test_slots_that_are_stuck_in_different_queues_add_up(db: str) -> None:
    jobs = Jobs()
    go_on = threading.Event()

    @jobs.handler("hangs", timeout=0.2, max_retries=0)
    def hangs(job: JobContext) -> None:
        go_on.wait(30)

    async with bench(db, jobs) as b:
        async with b.worker(threads=2, queues={"default": None, "reports": 2}) as worker:
            await hangs.enqueue()
            await hangs.enqueue(queue="reports")
            await eventually(lambda: worker.draining)
        assert worker.stats.failed == 2
        go_on.set()


async def test_a_shutdown_waits_for_running_jobs(db: str) -> None:
    jobs = Jobs()
    started, go_on = asyncio.Event(), asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> None:
        started.set()
        await go_on.wait()
        assert not job.cancelled

    async with bench(db, jobs) as b:
        async with b.worker(shutdown_grace=timedelta(seconds=30)) as worker:
            job_id = (await waits.enqueue()).id
            await started.wait()
            worker.stop()
            other = (await waits.enqueue()).id
            draining = "SELECT draining FROM job_workers WHERE worker_id = $1"
            await eventually(lambda: b.pool.fetchval(draining, worker.worker_id))
            go_on.set()
        assert await b.status(job_id) == "completed"
        assert await b.status(other) == "pending"


async def test_a_shutdown_releases_what_does_not_end_in_time(db: str) -> None:
    jobs = Jobs()
    started, go_on = asyncio.Barrier(4), threading.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> None:
        await started.wait()
        await asyncio.Event().wait()

    @jobs.handler("stubborn")
    def stubborn(job: JobContext) -> None:
        go_on.wait(60)

    async with bench(db, jobs) as b:
        async with b.worker() as worker:
            ids = [(await waits.enqueue()).id for _ in range(3)]
            await started.wait()
            ids.append((await stubborn.enqueue()).id)
            await eventually(lambda: worker.running == 4)
        for job_id in ids:
            job = await b.job(job_id)
            assert (job.status, job.retry_count, job.crash_count) == ("pending", 0, 0)
            assert job.retry_after is None
        assert worker.stats.released == 4
        await everything_agrees(b.pool)
    go_on.set()


async def test_abort_does_not_wait_for_the_grace_period(db: str) -> None:
    jobs = Jobs()
    started = asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> None:
        started.set()
        await asyncio.Event().wait()

    async with bench(db, jobs) as b:
        # bench.worker() gives up after 15 s; the grace period is far longer.
        async with b.worker(shutdown_grace=timedelta(hours=1)) as worker:
            job_id = (await waits.enqueue()).id
            await started.wait()
            worker.stop()
            await eventually(lambda: worker.draining)
            worker.abort()
        assert await b.status(job_id) == "pending"


async def test_jobs_claimed_while_stopping_are_released(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> None:
        await asyncio.Event().wait()

    async with bench(db, jobs) as b:
        await waits.enqueue_many([None] * 1000)
        for _ in range(10):
            nothing = timedelta(0)
            async with b.worker(concurrency=400, shutdown_grace=nothing) as worker:
                # The first claim has been answered, the second one is under way.
                await eventually(lambda w=worker: w.stats.claimed, every=0.0005)  # type: ignore[misc]
            left = await b.pool.fetchval(
                "SELECT count(*) FROM analysis_jobs WHERE status = 'processing'"
            )
            assert left == 0
            assert worker.stats.released == worker.stats.claimed
        charged = await b.pool.fetchval(
            "SELECT count(*) FROM analysis_jobs WHERE retry_count + crash_count > 0"
        )
        assert charged == 0
        await everything_agrees(b.pool)


async def test_a_job_whose_workers_die_is_quarantined(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("poison")
    async def poison(job: JobContext) -> None:
        raise AssertionError

    async with bench(db, jobs) as b:
        job_id = (await poison.enqueue()).id
        for _ in range(3):
            await b.pool.execute(
                "UPDATE analysis_jobs SET retry_after = now() WHERE id = $1", job_id
            )
            (claimed,) = await b.store.claim("dies", None, ["poison"], 1, timedelta(minutes=1))
            assert claimed.id == job_id
            await b.pool.execute(EXPIRE, job_id)
            # Any worker rescues, also one that does not carry the type.
            other = Jobs()

            @other.handler("other")
            async def nothing(job: JobContext) -> None: ...

            async with b.worker(other) as worker:
                await eventually(lambda w=worker: w.stats.rescued == 1)  # type: ignore[misc]
        job = await b.job(job_id)
        assert (job.status, job.error_code, job.crash_count) == ("failed", "CRASHED_WORKER", 3)
