"""Two thousand connections that say nothing, or too slowly; ordinary requests go on beside them."""

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import psutil

from benchmarks.chaos.clients import Clients, token
from benchmarks.chaos.report import quantile
from benchmarks.chaos.site import Plan, Run, site, wait_until

_ORDINARY = 100
_DRIP_SECONDS = 3.0
_HEADER = (
    "POST /api/analyze HTTP/1.1\r\nHost: chaos\r\nContent-Type: application/json\r\n"
    f"Authorization: Bearer {token()}\r\nContent-Length: 200000\r\n\r\n"
)
_ASK_MUCH = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: chaos\r\n\r\n" * 20
_GONE_SECONDS = 90.0
# Scheduling on a busy machine; a request that waited for others would take seconds.
_NOISE_SECONDS = 0.25

Say = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def slow(run: Run) -> None:
    """A quarter of them silent, a quarter dripping a header, a body, or taking no answer."""
    count = run.size(short=2_000, long=2_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))
    run.report.method = (
        f"{count} connections: silent, dripping a header, dripping a body, taking no answer; "
        f"{_ORDINARY} ordinary requests one by one before and beside them"
    )
    async with site(run, Plan(workers=1, poll=0.5)) as here:
        (api,) = here.apis.members.values()
        process = psutil.Process(api.popen.pid)
        before, files = await _ordinary(here.clients), process.num_fds()
        address = urlsplit(here.clients.url)
        async with asyncio.TaskGroup() as group:
            bad = [
                group.create_task(_hold(_BAD[number % len(_BAD)], address.hostname, address.port))
                for number in range(count)
            ]
            await wait_until(lambda: process.num_fds() >= files + 0.95 * count, within=30)
            held = process.num_fds() - files
            beside = await _ordinary(here.clients)
            memory = process.memory_info().rss / 2**20
            report = run.report
            report.figure("connections held", held, at_least=0.9 * count)
            report.figure("before: median", 1000 * quantile(before, 0.5), "ms")
            report.figure("beside: median", 1000 * quantile(beside, 0.5), "ms")
            limit = 3 * quantile(before, 0.95) + _NOISE_SECONDS
            report.figure("beside: p95", 1000 * quantile(beside, 0.95), "ms", at_most=1000 * limit)
            report.figure("memory of the API", memory, "MiB", at_most=400)
            if run.long:
                began = time.monotonic()
                await wait_until(lambda: process.num_fds() < files + 0.05 * count, within=120)
                took = time.monotonic() - began
                report.figure("until the API was rid of them", took, "s", at_most=_GONE_SECONDS)
            for task in bad:
                task.cancel()
        run.report.broken(here.clients.dishonest[:5])
        report.figure("ordinary requests refused", len(here.clients.dishonest), at_most=0)
        await here.drained(patience=10)
        await here.workers.stop()
        report.figure("tracebacks in logs", here.tracebacks(), at_most=0)
        await here.check(peaceful=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _ordinary(clients: Clients) -> list[float]:
    """Seconds that creating a job and looking at it took."""
    took = []
    for _ in range(_ORDINARY // 2):
        began = time.monotonic()
        job_id = await clients.enqueue("work")
        created = time.monotonic()
        await clients.request("GET", f"/api/jobs/{job_id}")
        took += [created - began, time.monotonic() - created]
    return took


async def _hold(say: Say, host: str | None, port: int | None) -> None:
    """Keep a connection for as long as the other side does."""
    # uvloop raises RuntimeError where a transport has been closed meanwhile.
    with suppress(OSError, RuntimeError):
        # So little is read ahead that an answer which nobody takes stays with its sender.
        reader, writer = await asyncio.open_connection(host, port, limit=1024)
        try:
            await say(writer)
            if say is _take_nothing:
                await asyncio.Event().wait()
            await reader.read()
        finally:
            writer.transport.abort()


async def _silent(_: asyncio.StreamWriter) -> None:
    """Say nothing at all."""


async def _drip_header(writer: asyncio.StreamWriter) -> None:
    for letter in _HEADER:
        writer.write(letter.encode())
        await asyncio.sleep(_DRIP_SECONDS)


async def _drip_body(writer: asyncio.StreamWriter) -> None:
    writer.write(_HEADER.encode())
    while True:
        writer.write(b" ")
        await asyncio.sleep(_DRIP_SECONDS)


async def _take_nothing(writer: asyncio.StreamWriter) -> None:
    writer.write(_ASK_MUCH.encode())


_BAD: tuple[Say, ...] = (_silent, _drip_header, _drip_body, _take_nothing)
