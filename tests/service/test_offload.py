import asyncio
import os
import time

import psutil
import pytest

from tests.support import eventually
from wastewise_jobs.errors import RetryableError
from wastewise_jobs.handlers.offload import Offload


def pid_of() -> int:
    return os.getpid()


def busy(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def test_a_function_runs_in_another_process_that_is_used_again() -> None:
    offload = Offload(1)
    first = await offload.run(pid_of)
    assert first != os.getpid()
    assert await offload.run(pid_of) == first
    offload.close()


async def test_a_process_that_dies_fails_its_call_as_retryable_and_is_replaced() -> None:
    offload = Offload(1)
    with pytest.raises(RetryableError) as raised:
        await offload.run(os._exit, 3)
    assert raised.value.code == "WORKER_PROCESS_DIED"
    assert await offload.run(pid_of) != os.getpid()
    offload.close()


async def test_closing_ends_a_process_that_still_computes() -> None:
    offload = Offload(1)
    pid = await offload.run(pid_of)
    computing = asyncio.create_task(offload.run(busy, 60.0))
    await eventually(lambda: psutil.Process(pid).cpu_percent(0.05) > 0)
    offload.close()
    await eventually(lambda: not psutil.pid_exists(pid) or _is_zombie(pid))
    with pytest.raises(RetryableError):
        await computing


def _is_zombie(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
