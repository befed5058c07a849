import asyncio
import os
import sys
from pathlib import Path
from uuid import UUID

import orjson
import psutil
import pytest

from tests.support import process_handlers
from tests.support.process_handlers import (
    MEMORY,
    Order,
    async_in_process,
    harms,
    in_process,
    leaves_a_thread,
    says_nothing,
)
from tests.support.waiting import eventually
from tests.support.workers import bench, everything_agrees
from wastewise_jobs.jobs.model import ClaimedJob, Progress
from wastewise_jobs.workers.places.processes import MEMORY_BYTES
from wastewise_jobs.workers.progress import ProgressBoard
from wastewise_jobs.workers.run import Run


async def test_a_child_process_runs_jobs_and_is_used_again(db: str) -> None:
    async with bench(db, process_handlers.jobs) as b, b.worker(processes=1):
        first = await b.until((await in_process.enqueue(Order(act="work"))).id, "completed")
        second = await b.until((await in_process.enqueue(Order(act="work"))).id, "completed")
        assert first.result["id"] == str(first.id)
        assert first.result["pid"] == second.result["pid"]
        assert first.ai_requests == 2
        plain = await b.until((await async_in_process.enqueue()).id, "completed")
        assert plain.result == "async_in_process"


@pytest.mark.parametrize(
    ("act", "status", "code"),
    [
        ("raise", "failed", "NO"),
        ("later", "pending", "RETRYABLE_ERROR"),
        ("odd", "failed", "RESULT_NOT_STORABLE"),
    ],
)
async def test_errors_of_a_child_are_told(db: str, act: str, status: str, code: str) -> None:
    async with bench(db, process_handlers.jobs) as b, b.worker(processes=1) as worker:
        job_id = (await in_process.enqueue(Order(act=act))).id
        await eventually(lambda: worker.stats.failed + worker.stats.retried == 1)
        job = await b.job(job_id)
        assert (job.status, job.error_code) == (status, code)


@pytest.mark.parametrize(
    ("act", "words"), [("exit", "exit code 7"), ("segfault", "SIGSEGV"), ("kill", "SIGKILL")]
)
async def test_a_child_that_dies_fails_its_attempt_and_is_replaced(
    db: str, act: str, words: str
) -> None:
    async with bench(db, process_handlers.jobs) as b, b.worker(processes=1) as worker:
        job_id = (await in_process.enqueue(Order(act=act))).id
        await eventually(lambda: worker.stats.retried == 1)
        job = await b.job(job_id)
        assert job.error_code == "WORKER_PROCESS_DIED"
        assert words in (job.error_message or "")
        await b.until((await in_process.enqueue(Order(act="work"))).id, "completed")


async def test_a_job_that_kills_its_process_thrice_is_a_dead_letter(db: str) -> None:
    async with bench(db, process_handlers.jobs) as b, b.worker(processes=1) as worker:
        job_id = (await in_process.enqueue(Order(act="exit"))).id
        for retried in (1, 2):
            await eventually(lambda times=retried: worker.stats.retried == times)  # type: ignore[misc]
            await b.pool.execute(
                "UPDATE analysis_jobs SET retry_after = now() WHERE id = $1", job_id
            )
        job = await b.until(job_id, "failed")
        assert (job.error_code, job.retry_count) == ("WORKER_PROCESS_DIED", 2)
        await everything_agrees(b.pool)


async def test_other_errors_do_not_count_as_deaths(db: str) -> None:
    async with bench(db, process_handlers.jobs) as b, b.worker(processes=1) as worker:
        job_id = (await in_process.enqueue(Order(act="later"))).id
        for retried, act in ((1, "later"), (2, "exit")):
            await eventually(lambda times=retried: worker.stats.retried == times)  # type: ignore[misc]
            await b.pool.execute(
                "UPDATE analysis_jobs SET retry_after = now(), input_data = $2 WHERE id = $1",
                job_id,
                Order(act=act).model_dump(),
            )
        await eventually(lambda: worker.stats.retried == 3)
        job = await b.job(job_id)
        assert (job.status, job.error_code) == ("pending", "WORKER_PROCESS_DIED")


async def test_a_thread_that_a_handler_left_behind_speaks_for_no_other_job(db: str) -> None:
    async with bench(db, process_handlers.jobs) as b, b.worker(processes=1):
        await b.until((await leaves_a_thread.enqueue()).id, "completed")
        silent = await b.until((await says_nothing.enqueue()).id, "completed")
        # Completed as well, unless there was a step before.
        assert silent.current_step is None


async def test_a_cancelled_job_kills_the_child_and_what_it_started(db: str, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    async with bench(db, process_handlers.jobs) as b, b.worker(processes=1):
        job_id = (await in_process.enqueue(Order(act="hang", path=str(note)))).id
        await eventually(lambda: note.exists() and len(note.read_text().split()) == 2)
        pids = [int(pid) for pid in note.read_text().split()]
        assert await b.store.cancel(job_id, user_id=None) == "requested"
        await b.until(job_id, "cancelled", within=5)
        await eventually(lambda: not any(_alive(pid) for pid in pids))
        await b.until((await in_process.enqueue(Order(act="work"))).id, "completed")


async def test_a_child_that_looks_may_end_by_itself(db: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    async with bench(db, process_handlers.jobs) as b, b.worker(processes=1):
        job_id = (await in_process.enqueue(Order(act="until cancelled", path=str(note)))).id
        await eventually(lambda: note.exists() and note.read_text())

        async def progress_is_shown() -> bool:
            return (await b.job(job_id)).current_step == "half"

        await eventually(progress_is_shown)
        await b.store.cancel(job_id, user_id=None)
        await b.until(job_id, "cancelled")
        done = await b.until((await in_process.enqueue(Order(act="work"))).id, "completed")
        # Not killed: the same child goes on.
        assert done.result["pid"] == int(note.read_text())


async def test_no_child_outlives_its_worker(db: str, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    async with bench(db, process_handlers.jobs) as b:
        async with b.worker(processes=2):
            done = await b.until((await in_process.enqueue(Order(act="work"))).id, "completed")
            job_id = (await in_process.enqueue(Order(act="hang", path=str(note)))).id
            await eventually(lambda: note.exists() and len(note.read_text().split()) == 2)
        pids = [done.result["pid"], *(int(pid) for pid in note.read_text().split())]
        await eventually(lambda: not any(_alive(pid) for pid in pids))
        job = await b.job(job_id)
        assert (job.status, job.retry_count, job.crash_count) == ("pending", 0, 0)


async def test_a_child_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    """However busy it is: stdin ends when the parent is killed."""
    note = tmp_path / "pid"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wastewise_jobs.workers.places.child", stdin=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    setup: dict[str, object] = {
        "path": sys.path,
        "log_level": "INFO",
        "log_format": "json",
        "dsn": None,
    }
    setup |= {"lease_seconds": 1, "memory_bytes": MEMORY_BYTES, "parent": os.getpid()}
    values: dict[str, object] = dict.fromkeys(ClaimedJob.__dataclass_fields__, 0)
    order = Order(act="until cancelled", path=str(note))
    values |= {"id": str(UUID(int=1)), "user_id": None, "project_id": None}
    values |= {"created_at": "2026-01-01T00:00:00+00:00", "input_json": order.model_dump_json()}
    name = {"module": in_process.__module__, "name": "in_process"}
    for command in (setup, {**name, "job": values}):
        child.stdin.write(orjson.dumps(command) + b"\n")
    await eventually(lambda: note.exists() and note.read_text())
    child.stdin.close()
    assert await asyncio.wait_for(child.wait(), timeout=10) == 1


async def test_computations_that_hang_leave_the_worker_able(db: str) -> None:
    """Whatever holds them, they are killed in time; and nobody's time runs while he waits."""
    async with bench(db, process_handlers.jobs) as b, b.worker(processes=2) as worker:
        hangs = Order(act="hold the interpreter")
        hanging = [(await harms.enqueue(hangs, timeout=1)).id for _ in range(4)]
        other = (await in_process.enqueue(Order(act="work"), priority=10, timeout=10)).id
        await b.until(other, "completed", within=60)
        # The last but one has made room for it; the last may still hang.
        await eventually(lambda: worker.stats.retried == 4)
        assert worker.stats.timeouts == 4
        for job_id in hanging:
            job = await b.job(job_id)
            assert (job.status, job.error_code) == ("pending", "TIMEOUT")
        assert worker.stuck == 0
        assert _children_of_this_process() <= 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces this limit")
@pytest.mark.parametrize("act", ["fill", "fill slowly", "abort"])
async def test_a_job_that_wants_too_much_memory_fails_and_says_what_to_do(
    db: str, act: str
) -> None:
    async with (
        bench(db, process_handlers.jobs) as b,
        b.worker(processes=1, process_memory_bytes=MEMORY),
    ):
        job = await b.until((await harms.enqueue(Order(act=act))).id, "failed", "completed")
        assert (job.error_code, job.retry_count) == ("OUT_OF_MEMORY", 0)
        assert "256 MB" in (job.error_message or "")
        assert "COMPUTE_MEMORY_MB" in (job.error_message or "")
        await b.until((await in_process.enqueue(Order(act="work"))).id, "completed")


@pytest.mark.parametrize("act", ["flood", "flood with one"])
async def test_a_child_that_floods_with_progress_is_heard_now_and_then(
    db: str, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = 0
    put = ProgressBoard.put

    def counted(board: ProgressBoard, run: Run, progress: Progress) -> None:
        nonlocal heard
        heard += 1
        put(board, run, progress)

    monkeypatch.setattr(ProgressBoard, "put", counted)
    async with bench(db, process_handlers.jobs) as b, b.worker(processes=1):
        await b.until((await harms.enqueue(Order(act=act))).id, "completed", within=60)
    # A few times a second, not two hundred thousand times.
    assert 0 < heard < 1000


def _children_of_this_process() -> int:
    children = psutil.Process().children(recursive=True)
    return sum("wastewise_jobs.workers.places.child" in _command_of(child) for child in children)


def _command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
