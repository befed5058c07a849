"""What a peer's process tells the harness: one JSON object a line on stdout."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

# About a hundred bytes of JSON: what a small job carries.
PAYLOAD = {
    "account": "4711-0815-2342",
    "month": "2025-03",
    "note": "no-op job of the benchmark",
    "n": 7,
}


def say(**facts: Any) -> None:
    """Write one line, at once."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def dsn() -> str:
    """The database that the harness made for this run."""
    return os.environ["BENCH_DSN"]


class Counter:
    """Counts handler calls, and says so every hundred; the first with the CPU used until then."""

    def __init__(self) -> None:
        self.calls = 0

    def hit(self) -> None:
        self.calls += 1
        if self.calls == 1:
            say(event="first", at=time.time(), cpu=time.process_time())
        if self.calls % 100 == 0:
            say(event="count", calls=self.calls)


def arrived(sent_at: float) -> None:
    """A handler started that long after its job's enqueue began."""
    say(event="late", ms=(time.time() - sent_at) * 1000)


async def timed(count: int, work: Awaitable[object]) -> None:
    """Await the work and say how long it took."""
    began = time.perf_counter()
    await work
    say(event="done", seconds=time.perf_counter() - began, count=count)


async def from_tasks(count: int, tasks: int, one: Callable[[], Awaitable[object]]) -> None:
    """Call `one` count times in all, from so many tasks that each await their calls."""

    async def some(share: int) -> None:
        for _ in range(share):
            await one()

    async with asyncio.TaskGroup() as group:
        for n in range(tasks):
            group.create_task(some(count // tasks + (n < count % tasks)))


async def paced(count: int, per_second: float, one: Callable[[float], Awaitable[object]]) -> None:
    """Call `one(now)` at an even pace, without waiting for the one before."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    under_way: set[asyncio.Task[object]] = set()
    for n in range(count):
        await asyncio.sleep(max(0.0, began + n / per_second - loop.time()))
        task = asyncio.ensure_future(one(time.time()))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    say(event="done", seconds=loop.time() - began, count=count)


def main(actions: dict[str, Callable[..., Awaitable[None]]]) -> None:
    """Run `ACTION ARGS...` of the command line, on uvloop."""
    import uvloop

    action, *args = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(actions[action](*args))
