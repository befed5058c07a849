"""How fast a worker empties a queue of no-op jobs: from its first call to the last commit."""

import asyncio
import time
from dataclasses import dataclass

import asyncpg

from benchmarks.peer import Peer, Worker, act, start
from benchmarks.server import Server

_LIMIT_SECONDS = 180.0


@dataclass(frozen=True)
class Drained:
    """CPU is per job: that of all workers together, and that of the server's processes."""

    rate: float
    cpu_micros: float
    server_cpu_micros: float


async def drain(
    server: Server, peer: Peer, profile: str, jobs: int, *, workers: int = 1, held: bool = False
) -> Drained:
    """Fill, checkpoint, start the workers, measure; `held`: beside an open snapshot."""
    async with server.database(peer) as name:
        await act(peer, server.address(name), "bulk", str(jobs))
        watch = await server.connect(name)
        holder = await server.connect(name)
        try:
            await watch.execute("ANALYZE")
            await server.checkpoint()
            if held:
                await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
                await holder.fetchval("SELECT count(*) FROM pg_class")
            log = server.folder / f"{peer.name}-{profile}.log"
            running = [
                await start(peer, profile, server.address(name), log) for _ in range(workers)
            ]
            try:
                return await _measure(server, running, peer, jobs, watch)
            finally:
                await asyncio.gather(*(worker.stop() for worker in running))
        finally:
            await holder.close()
            await watch.close()


async def _measure(
    server: Server, running: list[Worker], peer: Peer, jobs: int, watch: asyncpg.Connection
) -> Drained:
    until = time.monotonic() + _LIMIT_SECONDS
    while not any(worker.first for worker in running):
        assert time.monotonic() < until, f"{peer.name} does not start"
        await asyncio.sleep(0.001)
    server_before = server.cpu_seconds()
    nearly = jobs - 100 * len(running)
    while sum(worker.calls for worker in running) < nearly:
        assert time.monotonic() < until, f"{peer.name}: {[w.calls for w in running]} of {jobs}"
        await asyncio.sleep(0.01)
    while await watch.fetchval(peer.unfinished):
        assert time.monotonic() < until, f"{peer.name}: the last jobs do not end"
        await asyncio.sleep(0.003)
    ended = time.time()
    firsts = [worker.first for worker in running if worker.first]
    seconds = ended - min(first["at"] for first in firsts)
    cpu = sum(worker.cpu_seconds() - worker.first["cpu"] for worker in running if worker.first)
    server_cpu = server.cpu_seconds() - server_before
    return Drained(jobs / seconds, cpu / jobs * 1e6, server_cpu / jobs * 1e6)
