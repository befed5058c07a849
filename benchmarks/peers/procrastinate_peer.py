"""procrastinate: `default` runs one job at a time, `c10` ten with a pool of twelve."""

from procrastinate import App, PsycopgConnector
from reporting import PAYLOAD, Counter, arrived, dsn, from_tasks, main, paced, timed

counter = Counter()


def make(pool: int) -> App:
    app = App(connector=PsycopgConnector(conninfo=dsn(), min_size=1, max_size=pool))

    @app.task(name="noop")
    async def noop(**_: object) -> None:
        counter.hit()

    @app.task(name="late")
    async def late(at: float) -> None:
        arrived(at)

    return app


async def setup() -> None:
    async with make(2).open_async() as app:
        await app.schema_manager.apply_schema_async()


async def bulk(count: str) -> None:
    async with make(2).open_async() as app:

        async def work() -> None:
            for start in range(0, int(count), 1000):
                size = min(1000, int(count) - start)
                await app.tasks["noop"].batch_defer_async(*[PAYLOAD] * size)

        await timed(int(count), work())


async def tasks(count: str, concurrency: str) -> None:
    async with make(20).open_async() as app:

        async def one() -> None:
            await app.tasks["noop"].defer_async(**PAYLOAD)

        await timed(int(count), from_tasks(int(count), int(concurrency), one))


async def pace(count: str, per_second: str) -> None:
    async with make(10).open_async() as app:

        async def one(now: float) -> None:
            await app.tasks["late"].defer_async(at=now)

        await paced(int(count), float(per_second), one)


async def worker(profile: str) -> None:
    concurrency = 10 if profile == "c10" else 1
    async with make(concurrency + 2).open_async() as app:
        await app.run_worker_async(concurrency=concurrency)


main({"setup": setup, "bulk": bulk, "tasks": tasks, "pace": pace, "worker": worker})
