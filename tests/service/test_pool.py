import asyncpg
import pytest

from wastewise_jobs.db.pool import Pool


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
