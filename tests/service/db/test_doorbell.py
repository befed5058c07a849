import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from structlog.testing import capture_logs

from tests.conftest import connected
from tests.support.waiting import eventually
from wastewise_jobs.db.doorbell import Doorbell


@asynccontextmanager
async def running(doorbell: Doorbell) -> AsyncIterator[None]:
    task = asyncio.create_task(doorbell.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def rings(db: str) -> AsyncIterator[list[str]]:
    heard: list[str] = []
    async with connected(db) as connection:
        await connection.add_listener("wastewise_wake", lambda *a: heard.append(a[3]))
        yield heard


async def test_the_first_ring_goes_out_at_once_and_the_next_ones_together(
    db: str, pool: asyncpg.Pool
) -> None:
    async with rings(db) as heard:
        doorbell = Doorbell(pool, merge_seconds=0.3)
        async with running(doorbell):
            doorbell.ring("default")
            await eventually(lambda: heard == ["default"], within=0.25, every=0.005)
            for _ in range(100):
                doorbell.ring("default")
                doorbell.ring("reports")
            await eventually(lambda: len(heard) == 3)
            assert sorted(heard[1:]) == ["default", "reports"]
            assert doorbell.sent == 3


async def test_a_doorbell_that_is_switched_off_sends_nothing(db: str, pool: asyncpg.Pool) -> None:
    async with rings(db) as heard:
        silent, loud = Doorbell(pool, enabled=False), Doorbell(pool)
        async with running(silent), running(loud):
            silent.ring("silent")
            loud.ring("loud")
            await eventually(lambda: heard)
    assert heard == ["loud"]


async def test_a_ring_that_cannot_be_sent_is_dropped_and_the_next_one_arrives(
    db: str, pool: asyncpg.Pool
) -> None:
    async with rings(db) as heard, running(doorbell := Doorbell(pool, merge_seconds=0)):
        with capture_logs() as logs:
            # PostgreSQL limits a payload to 8,000 bytes: an error of the server itself.
            doorbell.ring("x" * 9000)
            await eventually(lambda: doorbell.dropped == 1)
            doorbell.ring("y" * 9000)
            await eventually(lambda: doorbell.dropped == 2)
            doorbell.ring("default")
            await eventually(lambda: heard == ["default"])
    assert [line["event"] for line in logs] == ["doorbell_failed"]
