"""How fast jobs are taken in: from fifty tasks, in bulk, and over HTTP."""

import asyncio
import json
import secrets
import sys
import time
from pathlib import Path
from uuid import uuid4

import jwt

from benchmarks.peer import OURS, Peer, act, environment
from benchmarks.server import Server
from wastewise_jobs.db.pool import Pool, create_pool
from wastewise_jobs.jobs.ids import new_job_id
from wastewise_jobs.jobs.model import NewJob
from wastewise_jobs.jobs.store import JobStore

CLIENTS = 64
CONNECTIONS = 10


async def from_tasks(server: Server, peer: Peer, jobs: int, *more: str) -> float:
    """Jobs per second from 50 tasks that each await their enqueue, over 20 connections."""
    async with server.database(peer) as name:
        done = await act(peer, server.address(name), "tasks", str(jobs), "50", *more)
    return float(done["count"] / done["seconds"])


async def in_bulk(server: Server, peer: Peer, jobs: int) -> float:
    """Jobs per second in calls of a thousand."""
    async with server.database(peer) as name:
        done = await act(peer, server.address(name), "bulk", str(jobs))
    return float(done["count"] / done["seconds"])


async def one_by_one(server: Server, jobs: int) -> float:
    """The same rows, one insert a transaction, over as many connections as the API has."""
    async with server.database(OURS) as name:
        pool = await create_pool(server.address(name), max_size=CONNECTIONS)
        store, user = JobStore(pool), uuid4()
        left = jobs

        async def client() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                job = NewJob(
                    id=new_job_id(), job_type="noop", user_id=user, input_json=json.dumps(_INPUT)
                )
                await store.enqueue([job])

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(client())
        seconds = time.perf_counter() - began
        await _assert_jobs(pool, jobs)
        await pool.close()
    return jobs / seconds


_INPUT = {"account": "4711-0815-2342", "month": "2025-03", "note": "a job", "n": 7}


async def over_http(server: Server, jobs: int) -> float:
    """`POST /api/analyze` from 64 clients that each wait for their 201."""
    async with server.database(OURS) as name:
        dsn, secret = server.address(name), secrets.token_hex(32)
        api, port = await start_api(dsn, secret, server.folder)
        try:
            request = _request(secret)
            left = jobs
            refused: list[bytes] = []

            async def client() -> None:
                nonlocal left
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                while left > 0:
                    left -= 1
                    writer.write(request)
                    head = await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(_content_length(head))
                    if not head.startswith(b"HTTP/1.1 201"):
                        refused.append(head)
                writer.close()

            began = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(client())
            seconds = time.perf_counter() - began
            assert not refused, refused[0]
            pool = await create_pool(dsn, max_size=1)
            await _assert_jobs(pool, jobs)
            await pool.close()
        finally:
            api.terminate()
            await api.wait()
    return jobs / seconds


async def _assert_jobs(pool: Pool, jobs: int) -> None:
    found = await pool.fetchval("SELECT count(*) FROM analysis_jobs")
    assert found == jobs, f"{found} of {jobs} jobs are in the database"


async def start_api(
    dsn: str, secret: str, folder: Path, command: str = "api"
) -> tuple[asyncio.subprocess.Process, int]:
    env = environment(
        dsn,
        DATABASE_URL=dsn,
        JWT_SECRET=secret,
        PORT="0",
        LOG_FORMAT="json",
        DATABASE_POOL_SIZE=str(CONNECTIONS),
    )
    log = folder / f"api-{secrets.token_hex(3)}.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wastewise_jobs", command, env=env, stdout=stderr, stderr=stderr
        )
    return process, await _port(log)


async def _port(log: Path) -> int:
    for _ in range(600):
        for line in log.read_text().splitlines():
            if line.startswith("{") and (fact := json.loads(line))["event"] == "api_started":
                return int(fact["url"].rpartition(":")[2])
        await asyncio.sleep(0.05)
    raise RuntimeError(log.read_text()[-2000:])


def token(secret: str, *, user: str | None = None, admin: bool = False) -> str:
    """A bearer token as Supabase makes them."""
    now = int(time.time())
    claims = {"sub": user or str(uuid4()), "aud": "authenticated", "iat": now, "exp": now + 86_400}
    if admin:
        claims["app_metadata"] = {"role": "admin"}
    return jwt.encode(claims, secret, "HS256")


def _request(secret: str) -> bytes:
    body = json.dumps({"jobType": "noop", "inputData": _INPUT}).encode()
    head = (
        "POST /api/analyze HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {token(secret)}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":")[1])
    raise ValueError(head)
