import pytest

from tests.support.waiting import start_process

STUBBORN = """
import asyncio, sys
from wastewise_jobs.cli.running import run

async def stubborn():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

async def main():
    global task
    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    return 3

sys.exit(run(main(), loop=sys.argv[1]))
"""


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_a_handler_that_swallows_cancellation_does_not_keep_the_process(loop: str) -> None:
    async with start_process("-c", STUBBORN, loop) as process:
        assert await process.ended(within=20) == 3, process.said()
