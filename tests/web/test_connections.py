"""Raw sockets: who holds a connection without using it loses it, and odd HTTP is refused."""

import asyncio
import contextlib
import gc
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp.http_parser
import pytest

from tests.support.api import ANN, Api, serving, token
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.errors import ConfigurationError
from wastewise_jobs.web.http import reading, server
from wastewise_jobs.web.http.server import listening, require_fast_parser

HEADER_SECONDS = 0.4


@pytest.fixture
async def quick(web_pool: Pool) -> AsyncIterator[Api]:
    """The service with a short deadline for headers."""
    async with serving(web_pool, header_seconds=HEADER_SECONDS) as api:
        yield api


@asynccontextmanager
async def connection(
    api: Api,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(api.host, api.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def end_of(reader: asyncio.StreamReader, *, within: float = 5.0) -> bytes:
    """Everything until the other side closes."""
    async with asyncio.timeout(within):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def headers_are_late(api: Api) -> None:
    """Return when whoever began a header at the time of the call has been cut off."""
    async with connection(api) as (reader, _):
        assert await end_of(reader) == b""


async def test_the_deadlines_are_those_that_are_promised() -> None:
    assert server.HEADER_SECONDS == 15
    assert reading.BODY_SECONDS == 10
    assert 30 <= server.KEEP_ALIVE_SECONDS <= 75


@pytest.mark.parametrize(
    "sent", [b"", b"G", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "]
)
async def test_a_connection_without_a_whole_header_is_closed(quick: Api, sent: bytes) -> None:
    started = time.monotonic()
    async with connection(quick) as (reader, writer):
        writer.write(sent)
        assert await end_of(reader) == b""
    assert time.monotonic() - started >= HEADER_SECONDS * 0.9


async def test_dribbling_does_not_move_the_deadline(
    quick: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: asyncio.Queue[asyncio.TimerHandle | None] = asyncio.Queue()
    plain = server._Connection.data_received

    def noted(there: server._Connection, data: bytes) -> None:
        plain(there, data)
        received.put_nowait(there._deadline)

    monkeypatch.setattr(server._Connection, "data_received", noted)
    async with connection(quick) as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\nX-Slow: ")
        deadline = await received.get()
        assert deadline is not None

        async def dribble() -> None:
            # Fewer than a header may have.
            for _ in range(1000):
                writer.write(b"a")
                assert await received.get() is deadline

        dribbling = asyncio.create_task(dribble())
        try:
            assert await end_of(reader) == b""
            assert not dribbling.done() or dribbling.exception() is None
        finally:
            dribbling.cancel()


async def test_the_second_header_on_a_connection_has_a_deadline_too(quick: Api) -> None:
    async with connection(quick) as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        first = await reader.readuntil(b"}}")
        assert first.startswith(b"HTTP/1.1 200")
        # Idle is allowed for longer than a header may take.
        await headers_are_late(quick)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /livez HT")
        assert await end_of(reader) == b""


async def test_a_request_that_takes_long_is_not_cut_by_the_header_deadline(quick: Api) -> None:
    job_id = await quick.new_job()
    reply = await quick.get(f"/api/jobs/{job_id}?wait={HEADER_SECONDS * 2.5}")
    assert reply.status == 200


async def test_an_upload_that_takes_long_is_not_cut_by_the_header_deadline(quick: Api) -> None:
    project = await quick.new_project()

    async def slowly() -> AsyncIterator[bytes]:
        for part in (b"xx", b"xx", b"x"):
            yield part
            await headers_are_late(quick)

    reply = await quick.put(f"/api/projects/{project}/files/a.txt", slowly())
    assert (reply.status, reply.json["fileSize"]) == (201, 5)


async def test_a_body_that_does_not_come_is_given_up(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BODY_SECONDS", 0.3)
    head = (
        "POST /api/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token(ANN)}\r\nContent-Length: 100\r\n\r\n"
    )
    async with connection(api) as (reader, writer):
        writer.write(head.encode() + b'{"jobType":')
        answer = await end_of(reader, within=10)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_timeout"' in answer
    assert b"Connection: close" in answer


async def test_many_silent_connections_do_not_stop_the_others(quick: Api) -> None:
    held = [await asyncio.open_connection(quick.host, quick.port) for _ in range(300)]
    for _, writer in held:
        writer.write(b"POST /api/analyze HTTP/1.1\r\nContent-Le")
    assert (await quick.analyze()).status == 201
    ends = await asyncio.gather(*(end_of(reader) for reader, _ in held))
    assert set(ends) == {b""}
    for _, writer in held:
        writer.close()


async def _ask_for_a_large_file(api: Api, writer: asyncio.StreamWriter) -> int:
    project, size = await api.new_project(), 10 * 1024 * 1024
    path = f"/api/projects/{project}/files/large.txt"
    assert (await api.put(path, io.BytesIO(b"x" * size))).status == 201
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(ANN)}\r\n\r\n"
    writer.write(head.encode())
    return size


async def test_who_takes_an_answer_slowly_gets_all_of_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TAKE_SECONDS", 0.2)
    monkeypatch.setattr(server, "LEAST_TAKEN_BYTES", 1)
    looks: asyncio.Queue[None] = asyncio.Queue()
    sent = asyncio.Event()
    plain, plain_finish = server._Connection._expect_progress, server._Connection._finish

    def noted(there: server._Connection, *args: Any, taken: int) -> None:
        looks.put_nowait(None)
        plain(there, *args, taken=taken)

    async def finished(there: server._Connection, *args: Any) -> Any:
        done = await plain_finish(there, *args)
        sent.set()
        looks.put_nowait(None)
        return done

    monkeypatch.setattr(server._Connection, "_expect_progress", noted)
    monkeypatch.setattr(server._Connection, "_finish", finished)
    async with connection(api) as (reader, writer):
        size = await _ask_for_a_large_file(api, writer)
        await reader.readuntil(b"\r\n\r\n")
        left = size
        while left:
            # So much for each look of the server's, until the kernel has the rest.
            if not sent.is_set():
                await looks.get()
            part = await reader.readexactly(min(512 * 1024, left))
            left -= len(part)


async def test_who_takes_nothing_of_an_answer_is_cut_off(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "TAKE_SECONDS", 0.3)
    said = ""

    def is_cut() -> bool:
        nonlocal said
        said += "".join(capsys.readouterr())
        return "answer_not_taken" in said

    async with connection(api) as (_, writer):
        await _ask_for_a_large_file(api, writer)
        await eventually(is_cut)


async def test_an_answer_that_nobody_takes_does_not_wait_in_memory(api: Api) -> None:
    async with connection(api) as (reader, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await _ask_for_a_large_file(api, writer)
        await eventually(lambda: max(_unsent(), default=0) > 0)
        assert max(_unsent()) < 1024 * 1024
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: 10485760" in head
        assert await reader.readexactly(10485760) == b"x" * 10485760


def _unsent() -> list[int]:
    """What each connection of the service holds and its client has not taken."""
    connections = [c for c in gc.get_objects() if isinstance(c, server._Connection)]
    return [c.transport.get_write_buffer_size() for c in connections if c.transport is not None]


AMBIGUOUS = [
    b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked123\r\n\r\n",
    b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd",
    b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0x4\r\n\r\nabcd",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nBad\x00Name: x\r\n\r\n",
    b"GET /li vez HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /livez HTTP/9.9\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
    b"GET /livez HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(500)) + b"\r\n",
]


@pytest.mark.parametrize("sent", AMBIGUOUS, ids=range(len(AMBIGUOUS)))
async def test_odd_http_is_refused_in_our_words(
    shared_api: Api, sent: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    async with connection(shared_api) as (reader, writer):
        writer.write(sent)
        answer = await end_of(reader)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")), answer
    assert b"application/problem+json" in answer
    assert b'"code":"bad_request"' in answer
    assert b"X-Content-Type-Options: nosniff" in answer
    assert "Traceback" not in "".join(capsys.readouterr())


async def test_broken_chunks_are_a_bad_request(shared_api: Api) -> None:
    head = (
        "POST /api/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token(ANN)}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    async with connection(shared_api) as (reader, writer):
        writer.write(head.encode() + b"5\r\nabcde\r\nZZ\r\n")
        answer = await end_of(reader)
    assert b" 400 " in answer.splitlines()[0]


async def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = await api.new_job()
    async with connection(api) as (_, writer):
        request = (
            f"GET /api/jobs/{job_id}?wait=60 HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {token(ANN)}\r\n\r\n"
        )
        writer.write(request.encode())
        await eventually(lambda: len(api.watcher._watches) == 1)
    await eventually(lambda: not api.watcher._watches)
    assert "Traceback" not in "".join(capsys.readouterr())


def test_the_slow_parser_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    require_fast_parser()
    slow = aiohttp.http_parser.HttpRequestParserPy
    monkeypatch.setattr(aiohttp.http_parser, "HttpRequestParser", slow)
    with pytest.raises(ConfigurationError, match="AIOHTTP_NO_EXTENSIONS"):
        require_fast_parser()


async def test_a_port_that_is_taken_is_named(api: Api) -> None:
    app = aiohttp.web.Application()
    with pytest.raises(ConfigurationError, match=f"PORT: cannot listen on 127.0.0.1:{api.port}"):
        async with listening(app, "127.0.0.1", api.port):
            pass


async def test_an_address_that_is_not_of_this_machine_is_no_matter_of_the_port() -> None:
    refused = r"^HOST: cannot listen on 192\.0\.2\.1:8080: "
    with pytest.raises(ConfigurationError, match=refused):
        async with listening(aiohttp.web.Application(), "192.0.2.1", 8080, or_any_port=True):
            pass


async def test_another_port_is_taken_only_where_that_is_wanted(api: Api) -> None:
    app = aiohttp.web.Application()
    async with listening(app, "127.0.0.1", api.port, or_any_port=True) as address:
        assert address.port not in {0, api.port}


async def test_requests_that_run_may_end_when_the_server_stops(web_pool: Pool) -> None:
    async with contextlib.AsyncExitStack() as stack, aiohttp.ClientSession() as session:
        api = await stack.enter_async_context(serving(web_pool))
        async with web_pool.acquire() as blocking, blocking.transaction():
            await blocking.execute("LOCK TABLE analysis_jobs IN EXCLUSIVE MODE")
            running = asyncio.create_task(_analyze(api, session))
            await eventually(lambda: blocking.fetchval(_SOMEBODY_WAITS))
            stopping = asyncio.create_task(stack.aclose())
            await eventually(lambda: _refuses_connections(api))
            assert not running.done()
        assert await running == 201
        await stopping


async def _analyze(api: Api, session: aiohttp.ClientSession) -> int:
    headers = {"Authorization": f"Bearer {token(ANN)}"}
    url = f"{api.url}/api/analyze"
    async with session.post(url, json={"jobType": "echo"}, headers=headers) as response:
        return response.status


_SOMEBODY_WAITS = """
SELECT EXISTS (
    SELECT 1
    FROM pg_locks
    WHERE NOT granted
      AND relation = 'analysis_jobs'::regclass
)
"""


async def _refuses_connections(api: Api) -> bool:
    try:
        _, writer = await asyncio.open_connection(api.host, api.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False
