"""How long a job waits for an idle worker in another process, and what an idle worker costs."""

import asyncio
import statistics
from dataclasses import dataclass

from benchmarks.peer import Peer, Worker, act, start
from benchmarks.server import Server


@dataclass(frozen=True)
class Latency:
    """Milliseconds from the start of the enqueue to the start of the handler."""

    p50: float
    p95: float
    p99: float


async def latency(
    server: Server, peer: Peer, profile: str, jobs: int, per_second: float
) -> Latency:
    """Enqueue at an even pace from one process, run in another."""
    async with server.database(peer) as name:
        dsn = server.address(name)
        worker = await start(peer, profile, dsn, server.folder / f"{peer.name}-latency.log")
        try:
            await act(peer, dsn, "pace", "20", "10")
            await _arrived(worker, 20)
            worker.latencies.clear()
            await act(peer, dsn, "pace", str(jobs), str(per_second))
            await _arrived(worker, jobs)
        finally:
            await worker.stop()
    cuts = statistics.quantiles(worker.latencies, n=100)
    return Latency(statistics.median(worker.latencies), cuts[94], cuts[98])


async def _arrived(worker: Worker, jobs: int) -> None:
    for _ in range(3000):
        if len(worker.latencies) >= jobs:
            return
        await asyncio.sleep(0.02)
    raise RuntimeError(f"{len(worker.latencies)} of {jobs} jobs arrived")


@dataclass(frozen=True)
class Idle:
    """What an idle worker does in a minute."""

    transactions: float
    resident_mib: float
    connections: int


_TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1"
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1"


async def idle(server: Server, peer: Peer, profile: str, seconds: float = 60.0) -> Idle:
    """Watch an idle worker from another database, autovacuum switched off."""
    async with server.database(peer) as name:
        admin = await server.connect()
        worker = await start(peer, profile, server.address(name), server.folder / "idle.log")
        try:
            await act(peer, server.address(name), "pace", "20", "10")
            await _arrived(worker, 20)
            # A whole round of everything that is done once a minute, and statements prepared.
            await asyncio.sleep(75)
            before = await admin.fetchval(_TRANSACTIONS, name)
            await asyncio.sleep(seconds)
            after = await admin.fetchval(_TRANSACTIONS, name)
            resident = worker.psutil.memory_info().rss / 2**20
            connections = await admin.fetchval(_CONNECTIONS, name)
        finally:
            await worker.stop()
            await admin.close()
    return Idle((after - before) * 60 / seconds, resident, connections)
