"""pgqueuer: `default` is one connection and batches of 10, `b500pool` a pool and batches of 500."""

import json

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from reporting import PAYLOAD, Counter, arrived, dsn, from_tasks, main, paced, timed


async def setup() -> None:
    connection = await asyncpg.connect(dsn())
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()
    await connection.close()


async def bulk(count: str) -> None:
    connection = await asyncpg.connect(dsn())
    queries = Queries(AsyncpgDriver(connection))
    payload = json.dumps(PAYLOAD).encode()

    async def work() -> None:
        for start in range(0, int(count), 1000):
            size = min(1000, int(count) - start)
            await queries.enqueue(["noop"] * size, [payload] * size, [0] * size)

    await timed(int(count), work())
    await connection.close()


async def tasks(count: str, concurrency: str) -> None:
    async with asyncpg.create_pool(dsn(), min_size=20, max_size=20) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))

        async def one() -> None:
            await queries.enqueue("noop", json.dumps(PAYLOAD).encode())

        await timed(int(count), from_tasks(int(count), int(concurrency), one))


async def pace(count: str, per_second: str) -> None:
    async with asyncpg.create_pool(dsn(), min_size=10, max_size=10) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))

        async def one(now: float) -> None:
            await queries.enqueue("late", json.dumps({"at": now}).encode())

        await paced(int(count), float(per_second), one)


async def worker(profile: str) -> None:
    if profile == "b500pool":
        pool = await asyncpg.create_pool(dsn())
        pgq, batch = PgQueuer.from_asyncpg_pool(pool), 500
    else:
        pgq, batch = PgQueuer.from_asyncpg_connection(await asyncpg.connect(dsn())), 10
    counter = Counter()

    @pgq.entrypoint("noop")
    async def noop(job: object) -> None:
        counter.hit()

    @pgq.entrypoint("late")
    async def late(job: Job) -> None:
        arrived(json.loads(job.payload)["at"])

    await pgq.run(batch_size=batch)


main({"setup": setup, "bulk": bulk, "tasks": tasks, "pace": pace, "worker": worker})
