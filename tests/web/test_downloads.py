"""Large contents, slow readers, and how much of it all is kept here."""

import asyncio
import contextlib
import io
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from tests.support.api import ANN, BOB, Api, serving, token
from tests.support.factories import enqueue_one
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Pool, create_pool
from wastewise_jobs.projects.analysis_store import AnalysisStore
from wastewise_jobs.web.api.downloads import PIECE_BYTES
from wastewise_jobs.web.http.budget import MEBIBYTE, Budget
from wastewise_jobs.web.http.caller import Caller
from wastewise_jobs.web.http.problems import ProblemError
from wastewise_jobs.web.http.server import ANSWERS


@asynccontextmanager
async def slow_reader(api: Api, path: str) -> AsyncIterator[asyncio.StreamReader]:
    """Takes as little as it can."""
    reader, writer = await asyncio.open_connection(api.host, api.port, limit=1024)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(ANN)}\r\n\r\n".encode()
        )
        yield reader
    finally:
        writer.transport.abort()


async def stored(api: Api, content: bytes) -> str:
    project = await api.new_project()
    path = f"/api/projects/{project}/files/a.bin?fileType=invoice"
    assert (await api.put(path, io.BytesIO(content))).status == 201
    return path.partition("?")[0]


@pytest.mark.parametrize(
    "size", [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 700_001]
)
async def test_a_file_comes_back_as_it_was_sent(shared_api: Api, size: int) -> None:
    content = secrets.token_bytes(size)
    path = await stored(shared_api, content)
    reply = await shared_api.get(path)
    assert reply.body == content
    assert reply.headers["Content-Length"] == str(size)
    head = await shared_api.request("HEAD", path)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(size), b"")


async def test_a_report_comes_back_whole(api: Api) -> None:
    job_id = await enqueue_one(api.jobs, user_id=ANN)
    for name, content in (("html", b"<p>ab" * 100_000), ("xlsx", secrets.token_bytes(300_001))):
        async with api.pool.acquire() as connection:
            await AnalysisStore(connection).save_report(job_id, name, content)
        assert (await api.get(f"/api/jobs/{job_id}/reports/{name}")).body == content


async def test_slow_readers_hold_neither_a_connection_nor_the_file(db: str) -> None:
    async with (
        create_pool(db, min_size=1, max_size=2) as pool,
        serving(pool, stop_seconds=0.1) as api,
        AsyncExitStack() as readers,
    ):
        path = await stored(api, bytes(10 * MEBIBYTE))
        for _ in range(20):
            reader = await readers.enter_async_context(slow_reader(api, path))
            assert b"200" in await reader.readline()
        assert (await api.get("/api/jobs")).status == 200
        budget = api.app[ANSWERS]
        assert budget.spent == 20 * 2 * PIECE_BYTES
        await readers.aclose()
        await eventually(lambda: budget.spent == 0)


async def test_a_user_has_so_many_downloads_at_once(api: Api) -> None:
    path = await stored(api, bytes(10 * MEBIBYTE))
    async with AsyncExitStack() as readers:
        for _ in range(32):
            reader = await readers.enter_async_context(slow_reader(api, path))
            assert b"200" in await reader.readline()
        reply = await api.get(path)
        assert (reply.status, reply.code) == (429, "too_many_downloads")
        assert (await api.get("/api/jobs")).status == 200


async def test_a_file_that_is_replaced_meanwhile_ends_the_download(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader never gets half of one file and half of another."""
    path = await stored(api, b"a" * 10 * MEBIBYTE)
    async with slow_reader(api, path) as reader:
        assert b"200" in await reader.readline()
        replaced = io.BytesIO(b"b" * 10 * MEBIBYTE)
        assert (await api.put(f"{path}?fileType=invoice", replaced)).status == 200
        taken = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while part := await reader.read(MEBIBYTE):
                taken += part
    assert len(taken) < 10 * MEBIBYTE
    assert taken.count(b"b" * 100) == 0


async def test_results_that_nobody_takes_are_bounded(api: Api, pool: Pool) -> None:
    """One user's slow readers of large results leave room for everybody else."""
    job_id = await enqueue_one(api.jobs, user_id=ANN)
    await pool.execute(
        "UPDATE public.analysis_jobs SET result_data = to_jsonb(repeat('x', $2)) WHERE id = $1",
        job_id,
        15 * MEBIBYTE,
    )
    path = f"/api/jobs/{job_id}"
    async with AsyncExitStack() as readers:
        for _ in range(4):
            reader = await readers.enter_async_context(slow_reader(api, path))
            assert b"200" in await reader.readline()
        reply = await api.get(path)
        assert (reply.status, reply.code) == (429, "too_much_at_once")
        assert "Retry-After" in reply.headers
        assert api.app[ANSWERS].spent <= 64 * MEBIBYTE
        assert (await api.get(path, user=BOB, admin=True)).status == 200


def test_a_spent_budget_refuses_and_what_is_given_back_can_be_had_again() -> None:
    budget = Budget(100, share=60, what="answers")
    ann, bob = (Caller(user, frozenset()) for user in (ANN, BOB))
    with budget.hold(ann) as first, budget.hold(bob) as second:
        first.take(50)
        with pytest.raises(ProblemError, match="under way are too large together"):
            first.take(11)
        second.take(40)
        with pytest.raises(ProblemError, match="too many answers"):
            second.take(11)
        assert budget.spent == 90
    assert budget.spent == 0
    with budget.hold(ann) as alone:
        # Larger than all of it: by itself it can be had.
        alone.take(200)


async def test_bodies_on_their_way_are_bounded(api: Api) -> None:
    """Uploads that never end keep what has come of them."""
    project = await api.new_project()
    keys = [token(user) for user in (ANN,)]
    writers = []
    for _ in range(4):
        reader, writer = await asyncio.open_connection(api.host, api.port)
        writer.write(
            f"PUT /api/projects/{project}/files/a.bin HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {keys[0]}\r\nContent-Length: 1000000\r\n\r\n".encode()
        )
        writer.write(bytes(600_000))
        writers.append((reader, writer))
    try:
        await eventually(lambda: api.app_bodies.spent == 4 * 600_000)
    finally:
        for _, writer in writers:
            writer.transport.abort()
    await eventually(lambda: api.app_bodies.spent == 0)


async def test_a_body_that_finds_no_room_is_refused_and_its_connection_closed(api: Api) -> None:
    budget = api.app_bodies
    with budget.hold(Caller(BOB, frozenset())) as held:
        held.take(192 * MEBIBYTE)
        reply = await api.analyze()
        assert (reply.status, reply.code) == (503, "overloaded")
        assert reply.headers["Retry-After"] == "1"
        project = await api.pool.fetchval("SELECT count(*) FROM public.projects")
        assert project == 0
    assert (await api.analyze()).status == 201


async def test_no_list_brings_texts_of_megabytes(api: Api, pool: Pool) -> None:
    job_id = await enqueue_one(api.jobs, user_id=ANN)
    await pool.execute(
        """
        UPDATE public.analysis_jobs
        SET error_details = jsonb_build_object('a', repeat('x', 900000)),
            error_code = 'X',
            retry_error_log = jsonb_build_array(jsonb_build_object('a', repeat('x', 900000)))
        WHERE id = $1
        """,
        job_id,
    )
    reply = await api.get("/api/jobs")
    assert len(reply.body) < 10_000
    assert reply.json["jobs"][0]["error"]["details"] is None
    assert len((await api.get(f"/api/jobs/{job_id}")).body) > 1_800_000


async def test_a_client_that_goes_away_in_the_middle_leaves_nothing(api: Api) -> None:
    path = await stored(api, bytes(10 * MEBIBYTE))
    headers = {"Authorization": f"Bearer {token(ANN)}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(api.url + path) as response,
    ):
        assert len(await response.content.readexactly(PIECE_BYTES)) == PIECE_BYTES
        response.close()
    await eventually(lambda: api.app[ANSWERS].spent == 0)
