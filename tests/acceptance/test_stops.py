"""A process that is asked to end does, in time, whatever its handlers and the database do."""

import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from benchmarks.chaos.proxy import proxy_to
from tests.support.commands import events, start
from tests.support.factories import enqueue, enqueue_one, make_job
from tests.support.waiting import Process, eventually, start_process
from wastewise_jobs.db.embedded.server import embedded_postgres
from wastewise_jobs.db.pool import Pool, create_pool
from wastewise_jobs.jobs.store import JobStore

GRACE = 1.0
# Two seconds are promised; a busy machine may take longer to end a process, but not a minute.
IN_TIME = GRACE + 2 + 10

HANDLERS = """
import asyncio
import hashlib
import time
from pathlib import Path
from wastewise_jobs import JobContext, Jobs

jobs = Jobs()

@jobs.handler("sleeps", timeout=60)
async def sleeps(job: JobContext) -> None:
    Path("begun").touch()
    time.sleep(60)

@jobs.handler("spins", timeout=60)
async def spins(job: JobContext) -> None:
    Path("begun").touch()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        pass

@jobs.handler("computes", timeout=60)
async def computes(job: JobContext) -> None:
    Path("begun").touch()
    # In C, without a look at signals, and without the GIL.
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)

@jobs.handler("sleeps_too_long", timeout=0.5, max_retries=0)
async def sleeps_too_long(job: JobContext) -> None:
    Path("begun").touch()
    time.sleep(60)

@jobs.handler("waits", timeout=60)
async def waits(job: JobContext) -> None:
    Path("begun").touch()
    await asyncio.Event().wait()

@jobs.handler("swallows", timeout=60)
async def swallows(job: JobContext) -> None:
    Path("begun").touch()
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue

@jobs.handler("leaves_a_thread", timeout=60)
async def leaves_a_thread(job: JobContext) -> None:
    Path("begun").touch()
    await asyncio.to_thread(time.sleep, 60)

@jobs.handler("sleeps_when_stopped", timeout=60)
async def sleeps_when_stopped(job: JobContext) -> None:
    Path("begun").touch()
    try:
        await asyncio.Event().wait()
    finally:
        time.sleep(60)

@jobs.handler("exits", timeout=60)
async def exits(job: JobContext) -> str:
    async def exit(error: BaseException) -> None:
        raise error

    for error in (KeyboardInterrupt(), SystemExit(0)):
        task = asyncio.create_task(exit(error))
        await asyncio.wait([task])
    return "went on"
"""


SLOW_MODULE = """
import time
from pathlib import Path

Path("begun").touch()
time.sleep(60)
"""


@dataclass(frozen=True, slots=True)
class Site:
    folder: Path
    env: dict[str, str]
    pool: Pool

    async def enqueue(self, job_type: str) -> UUID:
        return await enqueue_one(JobStore(self.pool), job_type=job_type)

    async def job(self, job_id: UUID) -> asyncpg.Record:
        row = await self.pool.fetchrow("SELECT * FROM analysis_jobs WHERE id = $1", job_id)
        assert row is not None
        return row

    async def charges(self, job_id: UUID) -> tuple[Any, ...]:
        job = await self.job(job_id)
        return (job["status"], job["retry_count"], job["crash_count"])

    @asynccontextmanager
    async def worker(self, **env: str) -> AsyncIterator[Process]:
        command = ("worker", "--no-builtin", "--app", "handlers:jobs")
        async with start(*command, env=self.env | env, cwd=self.folder) as process:
            await eventually(lambda: process.has_said('"worker_started"'), within=30)
            yield process

    async def has_begun(self) -> None:
        await eventually((self.folder / "begun").exists)


@pytest.fixture
def site(db: str, pool: Pool, tmp_path: Path) -> Site:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    env = {
        "DATABASE_URL": db,
        "SHUTDOWN_GRACE_SECONDS": str(GRACE),
        "POLL_INTERVAL_SECONDS": "0.5",
        "DATABASE_POOL_SIZE": "4",
    }
    return Site(tmp_path, env, pool)


async def ends_in_time(process: Process) -> None:
    """With success, and without an error of ours."""
    began = time.monotonic()
    assert await process.ended(within=IN_TIME) == 0, process.said()
    print(f"ended after {time.monotonic() - began:.2f} s")  # noqa: T201
    assert "Traceback" not in process.said(), process.said()


@pytest.mark.parametrize(
    "job_type",
    ["sleeps", "spins", "computes", "waits", "swallows", "leaves_a_thread", "sleeps_when_stopped"],
)
async def test_a_signal_ends_the_process_whatever_a_handler_does(site: Site, job_type: str) -> None:
    async with site.worker() as process:
        job_id = await site.enqueue(job_type)
        await site.has_begun()
        process.send(signal.SIGTERM)
        await ends_in_time(process)
        assert await site.charges(job_id) == ("pending", 0, 0)


async def test_what_a_blocked_loop_has_claimed_and_not_heard_of_is_given_back(site: Site) -> None:
    store = JobStore(site.pool)
    async with site.worker() as process:
        # The first claim brings half of what fits; the next one is under way when the loop blocks.
        waiting = [make_job(job_type="waits") for _ in range(200)]
        await enqueue(store, *waiting, make_job(job_type="sleeps", priority=1))
        await site.has_begun()
        process.send(signal.SIGTERM)
        await ends_in_time(process)
        rows = await site.pool.fetch(
            "SELECT DISTINCT status, retry_count, crash_count FROM analysis_jobs"
        )
        assert [tuple(row) for row in rows] == [("pending", 0, 0)]


async def test_a_second_signal_does_not_wait_for_a_handler_that_blocks_the_loop(site: Site) -> None:
    async with site.worker(SHUTDOWN_GRACE_SECONDS="600") as process:
        job_id = await site.enqueue("sleeps")
        await site.has_begun()
        process.send(signal.SIGTERM)
        process.send(signal.SIGINT)
        await ends_in_time(process)
        assert await site.charges(job_id) == ("pending", 0, 0)


async def test_a_signal_ends_the_process_although_the_database_is_silent(site: Site) -> None:
    async with (
        proxy_to(site.env["DATABASE_URL"]) as proxy,
        site.worker(DATABASE_URL=proxy.dsn()) as process,
    ):
        await site.enqueue("waits")
        await site.has_begun()
        proxy.swallow()
        process.send(signal.SIGTERM)
        await ends_in_time(process)


async def test_a_blocked_loop_leaves_no_embedded_server_behind(home: Path, tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    env = {"WASTEWISE_HOME": str(home), "SHUTDOWN_GRACE_SECONDS": str(GRACE)}
    command = ("worker", "--no-builtin", "--app", "handlers:jobs")
    async with start(*command, env=env, cwd=tmp_path) as process:
        await eventually(lambda: process.has_said('"worker_started"'), within=60)
        async with embedded_postgres(home) as dsn, create_pool(dsn) as pool:
            await Site(tmp_path, env, pool).enqueue("sleeps")
            await eventually((tmp_path / "begun").exists)
        process.send(signal.SIGTERM)
        await ends_in_time(process)


async def test_a_process_whose_loop_is_blocked_for_good_ends_with_an_error(site: Site) -> None:
    async with site.worker() as process:
        waiting = await site.enqueue("waits")
        await site.has_begun()
        blocking = await site.enqueue("sleeps_too_long")
        assert await process.ended(within=30) == 1
        (line,) = events(process, "loop_hung")
        assert (line["job_id"], line["job_type"]) == (str(blocking), "sleeps_too_long")
        assert await site.charges(waiting) == ("pending", 0, 0)
        job = await site.job(blocking)
        assert (job["status"], job["error_code"]) == ("failed", "TIMEOUT")


async def test_an_interruption_without_a_signal_is_no_good_end() -> None:
    code = """
from wastewise_jobs.service import process as service
from wastewise_jobs.cli import main

async def interrupted(*args, **more):
    raise KeyboardInterrupt

service.run_service = interrupted
main(["worker"])
"""
    async with start_process("-c", code) as process:
        assert await process.ended() not in {0, None}


async def test_an_exit_in_a_task_of_a_handler_ends_nothing_else(site: Site) -> None:
    async with site.worker() as process:
        job_id = await site.enqueue("exits")

        async def completed() -> bool:
            return bool((await site.job(job_id))["status"] == "completed")

        await eventually(completed)
        assert len(events(process, "stray_exit_ignored")) == 2
        assert process.popen.poll() is None


@pytest.mark.parametrize(("command", "code"), [("worker", 0), ("token", 130)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_during_the_imports_ends_the_process_at_once(
    tmp_path: Path, command: str, code: int, number: signal.Signals
) -> None:
    (tmp_path / "typer.py").write_text(SLOW_MODULE)
    async with start(command, env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path) as process:
        await eventually((tmp_path / "begun").exists)
        process.send(number)
        assert await process.ended(within=IN_TIME) == code
        assert process.said() == ""


async def test_a_signal_while_handlers_are_imported_ends_the_process(site: Site) -> None:
    (site.folder / "slow.py").write_text(SLOW_MODULE)
    async with start("worker", "--app", "slow:jobs", env=site.env, cwd=site.folder) as process:
        await site.has_begun()
        process.send(signal.SIGTERM)
        await ends_in_time(process)
