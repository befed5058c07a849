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
