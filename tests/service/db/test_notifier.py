import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from structlog.testing import capture_logs

from benchmarks.chaos.proxy import proxy_to
from tests.conftest import connected
from tests.support.waiting import eventually
from wastewise_jobs.db.notifier import Notifier

NAME = "notifier under test"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"


class Heard:
    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.connects = 0

    def message(self, topic: str, payload: str) -> None:
        self.messages.append((topic, payload))

    def connect(self) -> None:
        self.connects += 1


@asynccontextmanager
async def listening(dsn: str, heard: Heard, **options: float) -> AsyncIterator[Notifier]:
    notifier = Notifier(
        dsn,
        ["wastewise_wake", "wastewise_cancel"],
        on_message=heard.message,
        on_connect=heard.connect,
        application_name=NAME,
        **options,
    )
    task = asyncio.create_task(notifier.run())
    try:
        yield notifier
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_notifications_of_its_topics_arrive(db: str, pool: asyncpg.Pool) -> None:
    heard = Heard()
    async with listening(db, heard):
        await eventually(lambda: heard.connects == 1)
        await pool.execute("SELECT pg_notify('wastewise_wake', 'default')")
        await pool.execute("SELECT pg_notify('other', 'nothing')")
        await pool.execute("SELECT pg_notify('wastewise_cancel', 'some-id')")
        await eventually(
            lambda: (
                heard.messages == [("wastewise_wake", "default"), ("wastewise_cancel", "some-id")]
            )
        )


async def test_a_terminated_listener_reconnects_and_listens_again(
    db: str, pool: asyncpg.Pool
) -> None:
    heard = Heard()
    async with listening(db, heard) as notifier:
        await eventually(lambda: heard.connects == 1)
        await pool.execute(TERMINATE, NAME)
        await eventually(lambda: heard.connects == 2)
        assert notifier.reconnects == 1
        await pool.execute("SELECT pg_notify('wastewise_wake', 'default')")
        await eventually(lambda: heard.messages)


async def test_a_connection_that_only_looks_open_is_replaced(db: str) -> None:
    heard = Heard()
    async with (
        proxy_to(db) as proxy,
        listening(proxy.dsn(), heard, check_every=0.1, check_limit=0.3) as notifier,
    ):
        await eventually(lambda: heard.connects == 1)
        proxy.swallow()
        await eventually(lambda: not notifier.listening)
        proxy.heal()
        await eventually(lambda: heard.connects >= 2)
        async with connected(db) as connection:
            await connection.execute("SELECT pg_notify('wastewise_wake', 'default')")
        await eventually(lambda: heard.messages)


async def test_it_listens_again_soon_after_a_long_silence(db: str) -> None:
    """However many attempts have failed, the next one comes soon and does not hang for long."""
    heard = Heard()
    async with (
        proxy_to(db) as proxy,
        listening(proxy.dsn(), heard, check_every=0.5, check_limit=0.5) as notifier,
    ):
        await eventually(lambda: notifier.listening)
        proxy.swallow()
        await eventually(lambda: proxy.accepted > 8, within=30)
        proxy.heal()
        await eventually(lambda: notifier.listening, within=4)


async def test_unlisten_behind_its_back_is_noticed(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a transaction pooler does: LISTEN is accepted, nothing is delivered."""
    subscribe = Notifier._subscribe

    async def subscribe_in_vain(self: Notifier, connection: asyncpg.Connection) -> None:
        await subscribe(self, connection)
        await connection.execute("UNLISTEN *")

    monkeypatch.setattr(Notifier, "_subscribe", subscribe_in_vain)
    heard = Heard()
    with capture_logs() as logs:
        async with listening(db, heard, check_every=0.05, check_limit=0.1):
            await eventually(lambda: any(line["event"] == "listener_deaf" for line in logs))
    assert heard.connects == 0
    assert [line["event"] for line in logs] == ["listener_deaf"]


async def test_an_unreachable_server_costs_one_log_line() -> None:
    heard = Heard()
    with capture_logs() as logs:
        dsn = "postgresql://postgres@127.0.0.1:1/nowhere"
        async with listening(dsn, heard, check_every=0.05, check_limit=0.1) as notifier:
            await eventually(lambda: logs)
            last = notifier.beat.last
            await eventually(lambda: notifier.beat.last > last)
    assert [line["event"] for line in logs] == ["listener_lost"]
