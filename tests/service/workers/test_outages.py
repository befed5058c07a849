"""PostgreSQL goes away and comes back: no outcome is lost, nobody has to restart a worker."""

import asyncio
import random
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.conftest import connected
from tests.support.factories import rescue
from tests.support.waiting import eventually
from tests.support.workers import bench, everything_agrees
from wastewise_jobs import JobContext, Jobs
from wastewise_jobs.db.pool import create_pool
from wastewise_jobs.jobs.failure import classify
from wastewise_jobs.jobs.failure_rules import FailureKind
from wastewise_jobs.jobs.model import ClaimedJob
from wastewise_jobs.jobs.store import JobStore, Polled

OWN_SESSION = "SELECT pg_backend_pid()"
CUT = """
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
BUSY_SLOW: dict[str, Any] = {
    "lease": timedelta(seconds=30),
    "heartbeat_interval": timedelta(seconds=1),
}


async def test_an_outcome_outlives_the_connections(db: str) -> None:
    """Every session is cut again and again for longer than a statement takes."""
    jobs = Jobs()
    started, go_on = asyncio.Event(), asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> str:
        started.set()
        await go_on.wait()
        return "kept"

    async with bench(db, jobs) as b, b.worker(**BUSY_SLOW) as worker, connected(db) as knife:
        job_id = (await waits.enqueue()).id
        await started.wait()
        await knife.execute("ALTER TABLE analysis_jobs RENAME TO hidden")
        await knife.execute(CUT)
        go_on.set()
        # The outcome is there, and cannot be written.
        await eventually(lambda: worker.stats.heartbeat_errors > 0)
        assert worker.running == 1
        await knife.execute("ALTER TABLE hidden RENAME TO analysis_jobs")
        await eventually(lambda: worker.running == 0)
        job = await b.job(job_id)
        assert (job.status, job.result, job.crash_count) == ("completed", "kept", 0)
        assert worker.stats.lease_lost == 0


async def test_what_ended_in_an_outage_longer_than_the_lease_is_kept(db: str) -> None:
    """Even when a rescue is the first thing that happens afterwards."""
    jobs = Jobs()
    started, go_on = asyncio.Barrier(9), asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> str:
        await started.wait()
        await go_on.wait()
        return "kept"

    lease = timedelta(seconds=3)
    async with bench(db, jobs) as b, b.worker(lease=lease) as worker, connected(db) as knife:
        await waits.enqueue_many({} for _ in range(8))
        await started.wait()
        await knife.execute("ALTER TABLE job_queue RENAME TO hidden")
        await knife.execute(CUT)
        go_on.set()
        gone = "SELECT max(lease_expires_at) < now() FROM hidden"
        await eventually(lambda: knife.fetchval(gone))
        async with knife.transaction():
            await knife.execute("ALTER TABLE hidden RENAME TO job_queue")
            await knife.execute("SELECT rescue_jobs(100)")
        await eventually(lambda: worker.running == 0)
        rows = await knife.fetch("SELECT status, crash_count, fence FROM analysis_jobs")
    assert [tuple(row) for row in rows] == [("completed", 0, 1)] * 8
    assert (worker.stats.lease_lost, worker.stats.not_storable) == (0, 0)


async def test_an_open_transaction_of_a_front_end_costs_no_job(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs()
    runs: list[int] = []
    started, go_on = asyncio.Event(), asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> bool:
        runs.append(job.attempt)
        started.set()
        await go_on.wait()
        return job.cancelled

    polls: list[Polled] = []
    plain = JobStore.poll

    async def counted(store: JobStore) -> Polled:
        polls.append(await plain(store))
        return polls[-1]

    monkeypatch.setattr(JobStore, "poll", counted)
    poll = timedelta(seconds=60)
    async with bench(db, jobs) as b, b.worker(poll_interval=poll), connected(db) as front_end:
        job_id = (await waits.enqueue()).id
        await started.wait()
        transaction = front_end.transaction()
        await transaction.start()
        await front_end.execute("UPDATE analysis_jobs SET priority = 1 WHERE id = $1", job_id)
        expired = "SELECT lease_expires_at < now() - interval '2 s' FROM job_queue WHERE id = $1"
        polls.clear()
        began = time.monotonic()
        await eventually(lambda: b.pool.fetchval(expired, job_id))
        # Nor does anybody look all the time for a lease that cannot be taken.
        assert len(polls) < 3 + 1.5 * (time.monotonic() - began)
        await transaction.commit()
        # The first poll of somebody else comes before the heartbeat.
        assert await rescue(b.store) == []
        renewed = "SELECT lease_expires_at > now() AND NOT expired FROM job_queue WHERE id = $1"
        await eventually(lambda: b.pool.fetchval(renewed, job_id))
        go_on.set()
        job = await b.until(job_id, "completed", "failed")
    assert (job.result, job.crash_count, runs) == (False, 0, [1])


async def test_a_lease_whose_row_was_held_is_renewed_as_soon_as_it_is_free(db: str) -> None:
    jobs = Jobs()
    started, go_on = asyncio.Event(), asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> None:
        started.set()
        await go_on.wait()

    lease = "SELECT lease_expires_at FROM job_queue WHERE id = $1"
    rare: dict[str, Any] = {
        "lease": timedelta(seconds=90),
        "heartbeat_interval": timedelta(seconds=60),
        "poll_interval": timedelta(seconds=60),
    }
    async with bench(db, jobs) as b, b.worker(**rare) as worker, connected(db) as front_end:
        await eventually(lambda: worker.listening)
        job_id = (await waits.enqueue()).id
        await started.wait()
        before = await b.pool.fetchval(lease, job_id)
        transaction = front_end.transaction()
        await transaction.start()
        await front_end.execute("UPDATE analysis_jobs SET priority = 1 WHERE id = $1", job_id)
        await b.pool.execute("SELECT pg_notify('wastewise_cancel', $1)", str(job_id))
        beaten = "SELECT count(*) > 0 FROM job_workers WHERE running = 1"
        await eventually(lambda: b.pool.fetchval(beaten))
        assert await b.pool.fetchval(lease, job_id) == before
        await transaction.commit()

        async def renewed() -> bool:
            return bool(await b.pool.fetchval(lease, job_id) > before)

        await eventually(renewed)
        go_on.set()


async def test_everything_finishes_although_all_sessions_are_cut_over_and_over(db: str) -> None:
    jobs = Jobs()
    runs: Counter[int] = Counter()
    seed = random.randrange(10**6)  # noqa: S311 - not a secret
    chance = random.Random(seed)  # noqa: S311

    @jobs.handler("short")
    async def short(job: JobContext, input: dict[str, int]) -> int:
        runs[input["n"]] += 1
        await asyncio.sleep(chance.random() * 0.05)
        return input["n"]

    async with bench(db, jobs) as b, connected(db) as knife:
        await short.enqueue_many({"n": n} for n in range(400))
        with capture_logs() as logs:
            async with b.worker(concurrency=8) as worker:
                for _ in range(12):
                    await asyncio.sleep(chance.random() * 0.2)
                    await knife.execute(CUT)

                async def all_done() -> bool:
                    left = await knife.fetchval(
                        "SELECT count(*) FROM analysis_jobs WHERE status <> 'completed'"
                    )
                    return bool(left == 0)

                await eventually(all_done, within=60)
                await eventually(lambda: worker.listening)
        results = await knife.fetch("SELECT result_data::text::int AS n FROM analysis_jobs")
        assert sorted(row["n"] for row in results) == list(range(400)), f"seed {seed}"
        # A claim whose answer was cut off comes back by a rescue; nothing else runs twice.
        assert sum(runs.values()) <= 400 + worker.stats.rescued, f"seed {seed}"
        # One line a loop and outage, not one an attempt.
        assert Counter(line["event"] for line in logs)["loop_tick_failed"] < 200


@pytest.mark.parametrize("stopping", [False, True])
async def test_what_a_claim_took_whose_answer_was_lost_is_given_back(
    db: str,
    monkeypatch: pytest.MonkeyPatch,
    stopping: bool,  # noqa: FBT001
) -> None:
    jobs = Jobs()
    started, go_on = asyncio.Event(), asyncio.Event()
    claim, lost = JobStore.claim, 0

    async def odd(store: JobStore, *args: Any, **more: Any) -> list[ClaimedJob]:
        nonlocal lost
        claimed = await claim(store, *args, **more)
        if claimed and started.is_set() and not lost:
            lost = len(claimed)
            if stopping:
                worker.stop()
            raise ConnectionResetError
        return claimed

    monkeypatch.setattr(JobStore, "claim", odd)

    @jobs.handler("waits")
    async def waits(job: JobContext) -> int:
        started.set()
        await go_on.wait()
        return job.attempt

    @jobs.handler("plain")
    async def plain(job: JobContext) -> None: ...

    grace = timedelta(seconds=20)
    async with bench(db, jobs) as b:
        async with b.worker(shutdown_grace=grace, **BUSY_SLOW) as worker:
            known = (await waits.enqueue()).id
            await started.wait()
            await plain.enqueue_many({} for _ in range(3))
            await eventually(lambda: worker.stats.released > 0)
            if not stopping:
                await eventually(lambda: worker.stats.completed == 3)
            # What runs is known, and stays.
            assert await b.status(known) == "processing"
            go_on.set()
        assert worker.stats.released == lost == 3
        await b.until(known, "completed")
        rows = await b.pool.fetch(
            "SELECT status, crash_count, retry_count FROM analysis_jobs WHERE job_type = 'plain'"
        )
        assert [tuple(row) for row in rows] == [("pending" if stopping else "completed", 0, 0)] * 3
        await everything_agrees(b.pool)


async def test_a_cut_listener_costs_only_latency(db: str, pool: asyncpg.Pool) -> None:
    jobs = Jobs()

    @jobs.handler("plain")
    async def plain(job: JobContext) -> None: ...

    listeners = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"
    async with bench(db, jobs) as b, b.worker(poll_interval=timedelta(seconds=60)) as worker:
        await eventually(lambda: worker.listening)
        await pool.execute(listeners, "wastewise-jobs listener")
        # Enqueued while nobody listens: found by the poll that follows the reconnect.
        job_id = (await plain.enqueue()).id
        await b.until(job_id, "completed", within=15)
        await eventually(lambda: worker.listening)
        await b.until((await plain.enqueue()).id, "completed", within=5)


async def test_a_stop_during_an_outage_keeps_its_deadline(db: str) -> None:
    jobs = Jobs()
    started = asyncio.Event()

    @jobs.handler("waits")
    async def waits(job: JobContext) -> None:
        started.set()
        await asyncio.Event().wait()

    async with bench(db, jobs) as b, connected(db) as knife:
        async with b.worker(**BUSY_SLOW):
            job_id = (await waits.enqueue()).id
            await started.wait()
            await knife.execute("ALTER TABLE analysis_jobs RENAME TO hidden")
            await knife.execute(CUT)
            began = time.monotonic()
        # Grace 0.2 s and two more, and some for a busy machine; PostgreSQL never answered.
        assert time.monotonic() - began < 5
        await knife.execute("ALTER TABLE hidden RENAME TO analysis_jobs")
        # Its lease was renewed a moment ago: the rescue comes when it has run out.
        assert await b.status(job_id) == "processing"
        await everything_agrees(b.pool)


async def test_a_connection_that_breaks_in_a_jobs_transaction_costs_an_attempt(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("is_cut")
    async def is_cut(job: JobContext) -> None:
        async with job.transaction() as connection, connected(db) as knife:
            session = await connection.fetchval(OWN_SESSION)
            await knife.execute("SELECT pg_terminate_backend($1)", session)
            await connection.execute("SELECT 1")

    async with bench(db, jobs) as b:
        async with b.worker() as worker:
            job_id = (await is_cut.enqueue()).id
            await eventually(lambda: worker.stats.retried == 1)
        job = await b.job(job_id)
        assert (job.status, job.error_code) == ("pending", "DATABASE_UNAVAILABLE")


async def test_what_an_outage_does_to_many_jobs_is_few_lines(db: str) -> None:
    jobs = Jobs()
    begun = asyncio.Semaphore(0)

    @jobs.handler("waits")
    async def waits(job: JobContext) -> None:
        begun.release()
        await asyncio.Event().wait()

    @jobs.handler("in_transaction")
    async def in_transaction(job: JobContext) -> None:
        async with job.transaction() as connection:
            begun.release()
            await connection.execute("SELECT pg_sleep(60)")

    async def all_began(count: int) -> None:
        for _ in range(count):
            await asyncio.wait_for(begun.acquire(), 10)

    async with bench(db, jobs) as b, connected(db) as knife:
        await waits.enqueue_many({} for _ in range(20))
        dead = await b.store.claim("dead", None, ["waits"], 20, timedelta(seconds=0))
        await knife.execute("UPDATE job_queue SET expired = true")
        with capture_logs() as logs:
            async with b.worker(lease=timedelta(seconds=3)) as worker:
                await eventually(lambda: worker.stats.rescued == len(dead))
                await all_began(20)
                await in_transaction.enqueue_many({} for _ in range(6))
                await all_began(6)
                # Cut, and for longer than a lease: runs whose lease nobody confirms are released.
                await knife.execute("ALTER TABLE job_queue RENAME TO hidden")
                await knife.execute(CUT)
                await eventually(lambda: worker.stats.heartbeat_errors > 0)
                runs = worker._supervisor.unsettled
                await eventually(lambda: all(run.settling for run in runs))
                await knife.execute("ALTER TABLE hidden RENAME TO job_queue")
                await all_began(20)
                await eventually(lambda: worker.stats.retried == 6)
                # An operator's act, on all of them.
                await knife.execute("UPDATE analysis_jobs SET status = 'failed'")
                await eventually(lambda: worker.stats.lease_lost >= 20)
    told: Counter[str] = Counter()
    for line in logs:
        told[line["event"].replace("jobs_", "job_")] += line.get("count", 1)
    counts = {"job_rescued": 20, "job_retry_scheduled": 6, "job_lease_lost": 20}
    assert {event: told[event] for event in counts} == counts
    events = Counter(line["event"] for line in logs if line["log_level"] != "debug")
    assert events.total() <= 25, events
    lost = [line for line in logs if line["event"] == "jobs_lease_lost"]
    assert sum((Counter(line["by_type"]) for line in lost), Counter()) == {"waits": 20}
    leases = {lease for line in lost for lease in zip(line["job_ids"], line["fences"], strict=True)}
    assert len(leases) == 20


async def test_a_socket_that_is_not_there_is_a_server_that_is_not_there(tmp_path: Path) -> None:
    """Not a missing file, which would end a job for good."""
    async with create_pool(f"postgresql:///x?host={tmp_path}", min_size=0) as pool:
        with pytest.raises(ConnectionRefusedError) as refused:
            await pool.execute("SELECT 1")
    assert classify(refused.value).kind is FailureKind.RETRYABLE


async def test_no_loop_is_late_while_it_waits_for_the_database(db: str) -> None:
    """A new process would only wait as well."""
    jobs = Jobs()

    @jobs.handler("plain")
    async def plain(job: JobContext) -> None: ...

    async with bench(db, jobs) as b, b.worker(**BUSY_SLOW) as worker:
        await eventually(lambda: worker.listening)
        late: list[list[str]] = []
        # A statement takes up to 10 s when PostgreSQL is silent, a claim and its connection 60.
        for seconds in (12, 200):
            for beat in worker.beats.values():
                beat.last -= seconds
            late.append([name for name, beat in worker.beats.items() if beat.late])
        assert late == [[], list(worker.beats)]
