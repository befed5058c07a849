import asyncio

import pytest

from wastewise_jobs.db.to_the_end import to_the_end


async def test_the_result_comes_back() -> None:
    assert await to_the_end(asyncio.sleep(0, "done")) == "done"


async def test_an_error_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        await to_the_end(failing(asyncio.Event(), released=True))


@pytest.mark.parametrize("cancellations", [1, 2])
async def test_a_cancelled_caller_still_waits_for_the_end(cancellations: int) -> None:
    release = asyncio.Event()
    caller = asyncio.create_task(to_the_end(release.wait()))
    for _ in range(cancellations):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_an_error_of_the_work_is_kept_as_the_cause_of_a_cancellation() -> None:
    release = asyncio.Event()
    caller = asyncio.create_task(to_the_end(failing(release)))
    await asyncio.sleep(0)
    caller.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await caller
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def failing(release: asyncio.Event, *, released: bool = False) -> None:
    if not released:
        await release.wait()
    raise ZeroDivisionError
