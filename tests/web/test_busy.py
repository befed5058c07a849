"""Somebody holds a row, or a whole table, for as long as he likes."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import connected, reachable_folder
from tests.support.api import ANN, BOB, Api, Reply, serving
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Pool, create_pool
from wastewise_jobs.web.api import writes
from wastewise_jobs.web.http.caller import Caller

Act = Callable[[Api], Awaitable[Callable[[], Awaitable[Reply]]]]

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writes, "LOCK_WAIT_MILLISECONDS", 100)


@asynccontextmanager
async def held(pool: Pool, table: str) -> AsyncIterator[None]:
    """Every row of the table."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"SELECT FROM public.{table} FOR UPDATE")
        yield


async def cancelling(api: Api) -> Callable[[], Awaitable[Reply]]:
    job = await api.new_job()
    return lambda: api.post(f"/api/jobs/{job}/cancel")


async def retrying(api: Api) -> Callable[[], Awaitable[Reply]]:
    job = await api.new_job()
    await api.pool.execute("UPDATE public.analysis_jobs SET status = 'failed'")
    return lambda: api.post(f"/api/jobs/{job}/retry")


async def deleting_a_project(api: Api) -> Callable[[], Awaitable[Reply]]:
    project = await api.new_project()
    return lambda: api.delete(f"/api/projects/{project}")


async def putting_a_file(api: Api) -> Callable[[], Awaitable[Reply]]:
    project = await api.new_project()
    return lambda: api.put(f"/api/projects/{project}/files/a.txt", b"a")


async def deleting_a_file(api: Api) -> Callable[[], Awaitable[Reply]]:
    project = await api.new_project()
    assert (await api.put(f"/api/projects/{project}/files/a.txt", b"a")).status == 201
    return lambda: api.delete(f"/api/projects/{project}/files/a.txt")


async def revoking_a_key(api: Api) -> Callable[[], Awaitable[Reply]]:
    body = {"userId": str(BOB), "scopes": ["read"]}
    made = await api.post("/api/admin/keys", body, admin=True)
    key = made.json["id"]
    return lambda: api.delete(f"/api/admin/keys/{key}", admin=True)


async def acknowledging(api: Api) -> Callable[[], Awaitable[Reply]]:
    alert: UUID = await api.pool.fetchval(
        "SELECT public.raise_alert('worker_down:w1', 'worker_down', 'error', 'silent', '{}')"
    )
    return lambda: api.post(f"/api/admin/alerts/{alert}/acknowledge", {}, admin=True)


ACTS = [
    (cancelling, "analysis_jobs"),
    (retrying, "analysis_jobs"),
    (deleting_a_project, "projects"),
    (putting_a_file, "projects"),
    (deleting_a_file, "project_files"),
    (revoking_a_key, "api_keys"),
    (acknowledging, "job_alerts"),
]


@pytest.mark.parametrize(("act", "table"), ACTS)
async def test_a_held_row_is_answered_busy(api: Api, act: Act, table: str) -> None:
    ask = await act(api)
    async with held(api.pool, table):
        reply = await ask()
    assert (reply.status, reply.code) == (409, "busy")
    assert reply.headers["Retry-After"] == "2"
    assert "try again" in reply.json["detail"]
    assert (await ask()).status < 300


async def test_whoever_waits_behind_a_waiter_is_told_the_same(api: Api) -> None:
    ask = await cancelling(api)
    async with held(api.pool, "analysis_jobs"):
        replies = await asyncio.gather(*(ask() for _ in range(12)))
    assert {(reply.status, reply.code) for reply in replies} == {(409, "busy")}


async def test_a_held_table_is_no_busy_row(api: Api) -> None:
    ask = await cancelling(api)
    async with api.pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE public.analysis_jobs IN SHARE MODE")
        reply = await ask()
    assert (reply.status, reply.code) == (503, "database_unavailable")


async def test_writers_who_wait_leave_connections_to_everybody_else(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many users wait, and each of them as often as he likes."""
    monkeypatch.setattr(writes, "LOCK_WAIT_MILLISECONDS", 60_000)
    async with (
        create_pool(db, min_size=1, max_size=3) as outside,
        create_pool(db, min_size=1, max_size=4) as pool,
        serving(pool, stop_seconds=0.1) as api,
    ):
        mine, project = await cancelling(api), await api.new_project(user=BOB)
        async with held(outside, "analysis_jobs"), held(outside, "projects"):
            asked = [asyncio.ensure_future(mine()) for _ in range(6)]
            path = f"/api/projects/{project}"
            asked += [asyncio.ensure_future(api.delete(path, user=BOB)) for _ in range(6)]
            await eventually(lambda: _all_wait(outside, 2))
            for _ in range(20):
                assert (await api.get("/api/jobs")).status == 200
            assert await outside.fetchval(WAITING) == 2
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)


async def _all_wait(pool: Pool, many: int) -> bool:
    return int(await pool.fetchval(WAITING)) >= many


async def test_a_user_waits_for_few_locks_at_once(pool: Pool) -> None:
    """Their further writes hold no connection, and those of others go on."""
    handed = writes.Writes(pool)
    ann, bob = Caller(UUID(int=1), frozenset()), Caller(UUID(int=2), frozenset())
    inside = 0
    leave = asyncio.Event()

    async def write() -> None:
        nonlocal inside
        async with handed.transaction(ann):
            inside += 1
            await leave.wait()

    tasks = [asyncio.create_task(write()) for _ in range(5)]
    async with handed.transaction(bob) as connection:
        assert await connection.fetchval("SHOW lock_timeout") == "100ms"
        await eventually(lambda: inside == 2)
    assert inside == 2
    leave.set()
    await asyncio.gather(*tasks)
    assert inside == 5
    assert await pool.fetchval("SHOW lock_timeout") == "0"


async def test_whose_project_somebody_holds_waits_apart_from_the_others(api: Api) -> None:
    """Those who came with him in one batch are let in, and those who come later not held up."""
    mine = await api.new_project()
    users = [UUID(int=n) for n in range(1, 6)]
    async with held(api.pool, "projects"):
        blocked, *others = await asyncio.gather(
            api.analyze(projectId=mine), *(api.analyze(user=user) for user in users)
        )
        assert (blocked.status, blocked.code) == (409, "busy")
        assert [reply.status for reply in others] == [201] * 5
        again = asyncio.create_task(api.analyze(projectId=mine))
        await eventually(lambda: _all_wait(api.pool, 1))
        assert (await api.analyze(user=BOB)).status == 201
        assert not again.done()
        assert (await again).code == "busy"
    assert (await api.analyze(projectId=mine)).status == 201


async def test_a_key_that_somebody_is_about_to_use_holds_nobody_else_up(api: Api) -> None:
    async with api.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO public.analysis_jobs "
            "(user_id, job_type, idempotency_key, idempotency_hash) VALUES ($1, 'echo', 'k', 'h')",
            ANN,
        )
        blocked, other = await asyncio.gather(
            api.analyze(idempotencyKey="k"), api.analyze(user=BOB)
        )
        assert (blocked.status, blocked.code, other.status) == (409, "busy", 201)


@asynccontextmanager
async def transaction_pooler(dsn: str) -> AsyncIterator[str]:
    """The address of the database through a real PgBouncer."""
    parts = urlsplit(dsn)
    words = dict(parse_qsl(parts.query))
    host = words.get("host") or str(parts.hostname)
    folder = reachable_folder()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config, at = folder / "pgbouncer.ini", words.get("port") or parts.port or 5432
    config.write_text(
        f"[databases]\n* = host={host} port={at} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 4\n"
    )
    # It refuses to be root, and a socket is only for the user of its server.
    owner = Path(host).stat().st_uid if host.startswith("/") and os.geteuid() == 0 else None
    popen = subprocess.Popen(
        [str(PGBOUNCER), str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=owner,
    )
    through = f"postgresql://postgres@127.0.0.1:{port}{parts.path}?sslmode=disable"

    async def answers() -> bool:
        try:
            async with connected(through):
                return True
        except (OSError, asyncpg.PostgresError):
            return False

    try:
        await eventually(answers, within=30)
        yield through
    finally:
        popen.kill()
        popen.wait(10)
        shutil.rmtree(folder)


@pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")
async def test_a_held_row_is_answered_busy_through_a_transaction_pooler(db: str) -> None:
    async with (
        transaction_pooler(db) as through,
        create_pool(through, max_size=4, statement_cache_size=0) as pool,
        serving(pool) as api,
    ):
        ask = await cancelling(api)
        async with create_pool(db, max_size=1) as outside, held(outside, "analysis_jobs"):
            reply = await ask()
        assert (reply.status, reply.code) == (409, "busy")
        # The limit is left in none of the pooler's sessions.
        assert {await pool.fetchval("SHOW lock_timeout") for _ in range(8)} == {"0"}
        assert (await ask()).status == 200
