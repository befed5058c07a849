import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import eventually, start_process
from wastewise_jobs.children import Children
from wastewise_jobs.errors import PermanentError, RetryableError

LONG = timedelta(seconds=60)
MEMORY = 256 * 1024 * 1024


@pytest.fixture
async def children() -> AsyncIterator[Children]:
    made = Children(1, memory_bytes=MEMORY)
    yield made
    await made.close()


def pid_of() -> int:
    return os.getpid()


def hang(note: str) -> None:
    Path(note).write_text(str(os.getpid()), encoding="ascii")
    # Holds the interpreter's lock: no thread of this process ever runs again.
    ctypes.PyDLL(None).sleep(1000)


def fill() -> int:
    return len(bytearray(MEMORY * 2))


def fill_slowly() -> int:
    hoard = []
    while True:
        hoard.append(os.urandom(1024))


def raise_odd() -> None:
    class OddError(Exception):
        """Cannot be pickled: nobody else can import it."""

    raise OddError("said in the child")


async def test_a_function_runs_in_another_process_that_is_used_again(children: Children) -> None:
    first = await children.run(pid_of, timeout=LONG)
    assert first != os.getpid()
    assert await children.run(pid_of, timeout=LONG) == first


async def test_what_a_function_raises_is_raised_here(children: Children) -> None:
    with pytest.raises(ZeroDivisionError):
        await children.run(divmod, 1, 0, timeout=LONG)
    with pytest.raises(RuntimeError, match="OddError: said in the child"):
        await children.run(raise_odd, timeout=LONG)


async def test_a_call_that_does_not_end_is_killed_and_the_next_one_runs(
    children: Children, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    await children.run(pid_of, timeout=LONG)
    with pytest.raises(TimeoutError):
        await children.run(hang, str(note), timeout=timedelta(seconds=2))
    await eventually(lambda: not alive(int(note.read_text())))
    assert await children.run(pid_of, timeout=LONG) > 0


async def test_a_call_that_is_cancelled_is_killed(children: Children, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    call = asyncio.create_task(children.run(hang, str(note), timeout=LONG))
    await eventually(lambda: note.exists() and note.read_text())
    call.cancel()
    await asyncio.wait([call])
    await eventually(lambda: not alive(int(note.read_text())))


@pytest.mark.parametrize("greedy", [fill, fill_slowly])
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces this limit")
async def test_a_call_that_wants_too_much_memory_is_told_so(
    children: Children, greedy: Callable[[], int]
) -> None:
    with pytest.raises(PermanentError, match="COMPUTE_MEMORY_MB") as raised:
        await children.run(greedy, timeout=LONG)
    assert raised.value.code == "OUT_OF_MEMORY"
    assert await children.run(pid_of, timeout=LONG) > 0


async def test_a_process_that_aborts_was_refused_memory(children: Children) -> None:
    """As libraries in C and Rust do."""
    with pytest.raises(PermanentError) as raised:
        await children.run(os.abort, timeout=LONG)
    assert raised.value.code == "OUT_OF_MEMORY"


async def test_a_process_that_dies_fails_its_call_as_retryable(children: Children) -> None:
    with pytest.raises(RetryableError, match="exit code 3") as raised:
        await children.run(os._exit, 3, timeout=LONG)
    assert raised.value.code == "WORKER_PROCESS_DIED"
    assert await children.run(pid_of, timeout=LONG) != os.getpid()


async def test_closing_kills_what_still_computes(children: Children, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    call = asyncio.create_task(children.run(hang, str(note), timeout=LONG))
    await eventually(lambda: note.exists() and note.read_text())
    await children.close()
    await eventually(lambda: not alive(int(note.read_text())))
    with pytest.raises(RetryableError):
        await call


ENDS = """
import os, uvloop
from datetime import timedelta
from tests.service.children.test_children import MEMORY
from wastewise_jobs.children import Children

async def main():
    children = Children(2, memory_bytes=MEMORY)
    await children.run(os.getpid, timeout=timedelta(hours=1))
    await children.close()

for _ in range(10):
    uvloop.run(main())
"""


async def test_a_loop_that_had_children_can_be_closed(tmp_path: Path) -> None:
    """One that still has the pipe of a killed one refuses to."""
    root = str(Path(__file__).parents[3])
    async with start_process("-W", "error", "-c", ENDS, env={"PYTHONPATH": root}) as process:
        assert await process.ended(within=60) == 0, process.said()
        assert process.said() == ""


PARENT = """
import asyncio, sys
from datetime import timedelta
from tests.service.children.test_children import MEMORY, hang
from wastewise_jobs.children import Children

async def main():
    children = Children(1, memory_bytes=MEMORY)
    await children.run(hang, sys.argv[1], timeout=timedelta(hours=1))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread of the child notices")
async def test_a_child_that_holds_the_interpreter_dies_with_its_parent(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    root = str(Path(__file__).parents[3])
    async with start_process("-c", PARENT, str(note), env={"PYTHONPATH": root}) as parent:
        await eventually(lambda: note.exists() and note.read_text(), within=30)
        parent.send(signal.SIGKILL)
        await eventually(lambda: not alive(int(note.read_text())))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
