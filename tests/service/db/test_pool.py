import asyncio

import asyncpg
import pytest

from benchmarks.chaos.proxy import proxy_to
from wastewise_jobs.db import pool as pool_module
from wastewise_jobs.db.pool import Pool, create_pool


async def test_a_connection_to_a_server_that_cannot_write_is_replaced(pool: Pool) -> None:
    async with pool.acquire() as connection:
        backend = connection.get_server_pid()
        await connection.execute("SET default_transaction_read_only = on")
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("CREATE TABLE t (i int)")
    assert await pool.fetchval("SELECT pg_backend_pid()") != backend


async def test_any_other_error_keeps_the_connection(pool: Pool) -> None:
    async with pool.acquire() as connection:
        backend = connection.get_server_pid()
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.execute("SELECT * FROM nowhere")
        assert await connection.fetchval("SELECT pg_backend_pid()") == backend


async def test_jsonb_goes_in_and_comes_out_as_values(pool: Pool) -> None:
    value = {"a": [1, 2.5, None, "ä"], "b": {"c": True}}
    assert await pool.fetchval("SELECT $1::jsonb", value) == value


async def test_connections_that_died_together_are_replaced_together(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent network leaves open connections on which nobody will ever answer."""
    monkeypatch.setattr(pool_module, "CANCEL_SECONDS", 0.1)
    async with (
        proxy_to(db) as proxy,
        create_pool(proxy.dsn(), min_size=4, max_size=4, command_timeout=0.5) as pool,
    ):
        proxy.swallow()
        proxy.heal()
        with pytest.raises(TimeoutError):
            await pool.execute("SELECT 1")
        answers = await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(4)))
        assert answers == [1, 1, 1, 1]


async def test_whoever_waits_longest_is_served_first(db: str) -> None:
    """A newcomer comes between what is given back and who waits for it."""
    async with create_pool(db, min_size=1, max_size=1) as pool:
        served: list[str] = []

        async def serve(name: str) -> None:
            async with pool.acquire():
                served.append(name)

        first = await pool.acquire()
        waiting = [asyncio.create_task(serve(name)) for name in ("a", "b", "c")]
        await asyncio.sleep(0)
        await pool.release(first)
        await serve("newcomer")
        await asyncio.gather(*waiting)
    assert served == ["a", "b", "c", "newcomer"]


async def test_whoever_gives_up_waiting_loses_no_connection(db: str) -> None:
    async with create_pool(db, min_size=1, max_size=1) as pool:
        first = await pool.acquire()
        early, late, last = (asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(3))
        await asyncio.sleep(0)
        early.cancel()
        await pool.release(first)
        # It has its connection by now, and does not know it yet.
        late.cancel()
        assert await last == 1
        assert await pool.fetchval("SELECT 1") == 1
        assert await asyncio.gather(early, late, return_exceptions=True)
    assert early.cancelled()
    assert late.cancelled()
