"""Who works by get_next_job, and what nobody does."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import connected
from tests.support.factories import at, come_due, insert_plainly
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.maintenance.checks.unserved_work import unserved_work
from wastewise_jobs.monitoring.unserved import unserved as unserved_kinds

UNSERVED = """
SELECT queue, job_type, says FROM public.unserved_kinds('5 minutes', '30 minutes')
ORDER BY queue, job_type
"""


async def unserved(connection: Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(UNSERVED)]


async def worker(
    connection: Connection,
    worker_id: str = "w1",
    queues: tuple[str, ...] = ("*",),
    carries: tuple[str, ...] = ("echo",),
    minutes: float = 0,
) -> None:
    await connection.execute(
        "INSERT INTO public.job_workers (worker_id, name, host, pid, version, queues, job_types, "
        "concurrency, last_heartbeat_at) VALUES ($1, 'w', 'h', 7, '0', $2, $3, 9, $4)",
        worker_id,
        list(queues),
        list(carries),
        at(minutes=-minutes),
    )


async def test_a_type_and_a_queue_that_no_live_worker_carries_are_found(
    connection: Connection,
) -> None:
    await worker(connection, queues=("default", "mail"))
    await worker(connection, "silent", carries=("gone",), minutes=6)
    for kind in ("echo", "ehco", "gone"):
        await insert_plainly(connection, job_type=kind, created_at=at(minutes=-31))
    await insert_plainly(connection, job_type="echo", queue="mail", created_at=at(minutes=-31))
    await insert_plainly(connection, job_type="echo", queue="bulk", created_at=at(minutes=-31))
    # Neither for long enough, nor due, nor waiting.
    await insert_plainly(connection, job_type="fresh", created_at=at(minutes=-29))
    await insert_plainly(
        connection, job_type="later", created_at=at(minutes=-99), retry_after=at(minutes=9)
    )
    await insert_plainly(
        connection, job_type="ended", status="completed", completed_at=at(minutes=-31)
    )
    assert await unserved(connection) == [
        ("bulk", "echo", "no live worker serves queue bulk for echo"),
        ("default", "ehco", "no live worker carries ehco (queue default)"),
        ("default", "gone", "no live worker carries gone (queue default)"),
    ]
    await worker(connection, "w2", carries=("ehco", "gone"))
    assert [kind for _, kind, _ in await unserved(connection)] == ["echo"]
    await connection.fetchval("SELECT get_next_job('script')")
    assert await unserved(connection) == []


async def test_a_retry_is_due_from_its_time_on_also_where_nobody_claims(
    connection: Connection,
) -> None:
    job_id = await insert_plainly(connection, created_at=at(minutes=-99), retry_after=at(minutes=9))
    await come_due(connection, job_id)
    assert await unserved(connection) == []
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("UPDATE public.job_queue SET retry_after = $1", at(minutes=-31))
    assert [kind for _, kind, _ in await unserved(connection)] == ["complete_analysis"]


async def test_rows_that_claim_anything_hide_no_other(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "INSERT INTO public.job_queue (id, queue, job_type, priority, created_at, due, fence) "
            "VALUES (gen_random_uuid(), 'default', 'past', 5, '-infinity', true, 0), "
            "(gen_random_uuid(), 'default', 'older', 5, '4000-01-01 BC', true, 0), "
            "(gen_random_uuid(), 'default', 'future', 5, 'infinity', true, 0), "
            "(gen_random_uuid(), 'default', repeat('x', 2000), 5, '2020-01-01', true, 0)"
        )
    await insert_plainly(connection, job_type="ehco", created_at=at(minutes=-31))
    found = await unserved_kinds(connection, timedelta(minutes=5))
    assert sorted(one.job_type[:5] for one in found) == ["ehco", "older", "past", "xxxxx"]
    assert all(one.waited_seconds < 1e10 and len(one.words) < 300 for one in found)
    check = unserved_work(timedelta(minutes=5), 30)
    row = await connection.fetchrow(check.statement, *check.arguments)
    assert row is not None
    assert row["unserved"] == 4


async def test_the_oldest_of_a_kind_counts_whatever_its_priority(connection: Connection) -> None:
    await insert_plainly(connection, priority=1)
    job_id = await insert_plainly(connection, priority=9, created_at=at(minutes=-31))
    assert await connection.fetchval("SELECT job_id FROM public.unserved_kinds()") == job_id


async def test_kinds_are_hopped_over_and_jobs_are_not_read(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "INSERT INTO public.job_queue (id, queue, job_type, priority, created_at, due, fence) "
            "SELECT gen_random_uuid(), 'default', 'echo', 5, now() - interval '1 hour', true, 0 "
            "FROM generate_series(1, 20000)"
        )
        await connection.execute(
            "INSERT INTO public.job_queue (id, queue, job_type, priority, created_at, due, fence, "
            "retry_after) "
            "SELECT gen_random_uuid(), 'default', 'echo', 5, now(), false, 0, now() + "
            "interval '1 hour' FROM generate_series(1, 20000)"
        )
    read = "SELECT idx_tup_read + seq_tup_read FROM read_rows"
    await connection.execute(
        "CREATE TEMP VIEW read_rows AS SELECT "
        "(SELECT sum(pg_stat_get_xact_tuples_returned(i)) FROM unnest(ARRAY["
        "'public.job_queue_due'::regclass, 'public.job_queue_waiting'::regclass, "
        "'public.job_queue_pkey'::regclass]) AS i) AS idx_tup_read, "
        "pg_stat_get_xact_tuples_returned('public.job_queue'::regclass) AS seq_tup_read"
    )
    async with connection.transaction():
        before = await connection.fetchval(read)
        assert len(await unserved(connection)) == 1
        assert 0 < await connection.fetchval(read) - before < 100
        await connection.execute("SELECT count(*) FROM public.job_queue")
        assert await connection.fetchval(read) - before > 40_000


async def callers(connection: Connection) -> list[tuple[Any, ...]]:
    rows = await connection.fetch(
        "SELECT worker_id, kind, last_heartbeat_at FROM public.job_workers ORDER BY worker_id"
    )
    return [tuple(row) for row in rows]


async def test_a_caller_of_get_next_job_writes_once_in_ten_seconds(
    connection: Connection,
) -> None:
    for _ in range(3):
        await connection.fetchval("SELECT get_next_job('script')")
    (first,) = await callers(connection)
    assert first[:2] == ("script", "external")
    await connection.execute(
        "UPDATE public.job_workers SET last_heartbeat_at = now() - interval '11 seconds'"
    )
    await connection.fetchval("SELECT get_next_job('script')")
    (second,) = await callers(connection)
    assert second[2] > first[2]


@pytest.mark.parametrize("name", [None, "", "x" * 100_000, "ü" * 3000, "'; DROP TABLE x; --"])
async def test_no_name_of_a_caller_keeps_it_from_its_job(
    connection: Connection, name: str | None
) -> None:
    job_id = await insert_plainly(connection)
    assert await connection.fetchval("SELECT get_next_job($1)", name) == job_id


async def test_a_caller_with_an_open_transaction_holds_up_no_namesake(
    queue_db: str, connection: Connection
) -> None:
    async with connected(queue_db) as other, other.transaction():
        await other.fetchval("SELECT get_next_job('script')")
        await asyncio.wait_for(connection.fetchval("SELECT get_next_job('script')"), 5)
    assert [name for name, *_ in await callers(connection)] == ["script"]


async def test_a_worker_of_that_name_stays_one(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await worker(connection, "w1", minutes=6)
        await connection.fetchval("SELECT get_next_job('w1')")
        ((_, kind, beat),) = await callers(connection)
        assert kind == "worker"
        assert beat < at(minutes=-5)
