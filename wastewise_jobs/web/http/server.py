"""Serves the application on a socket, and closes the connections of those who only hold them.

aiohttp keeps a connection that never sends a whole request header open for ever, so every
connection here has a deadline for its header; a body has its own limits where it is read, an
answer has one for being taken. Behind a reverse proxy this is the second line, not the first.
"""

import asyncio
import contextlib
import errno
import os
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp.http_parser
import aiohttp.http_writer
from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from wastewise_jobs.errors import ConfigurationError
from wastewise_jobs.logs import get_logger
from wastewise_jobs.web.http.budget import Budget, Held, answer_budget
from wastewise_jobs.web.http.caller import NOBODY
from wastewise_jobs.web.http.middleware import SECURITY_HEADERS, unmet_expectation
from wastewise_jobs.web.http.problems import BAD_REQUEST, INTERNAL_ERROR, ProblemError, answer
from wastewise_jobs.web.http.route import CALLER, REQUEST_ID

HEADER_SECONDS = 15.0
KEEP_ALIVE_SECONDS = 60.0
TAKE_SECONDS = 30.0
LEAST_TAKEN_BYTES = 32 * 1024
LINGER_SECONDS = 5.0
STOP_SECONDS = 10.0
MOST_CONNECTIONS = 4096
_BACKLOG = 1024
_PIECE_BYTES = 64 * 1024
ANSWERS = web.AppKey("answers", Budget)
_SERVER_ERROR = 500
_PORT_REFUSED = frozenset({errno.EADDRINUSE, errno.EACCES, errno.EPERM})

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service can be reached; the port is the real one when 0 was asked for."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """For a person on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def require_fast_parser() -> None:
    """Raise ConfigurationError where aiohttp runs without its C parser.

    The pure Python one reads ambiguous requests differently from proxies in front of it.
    """
    parser = aiohttp.http_parser.HttpRequestParser
    if parser is getattr(aiohttp.http_parser, "HttpRequestParserPy", None):
        raise ConfigurationError(
            "AIOHTTP_NO_EXTENSIONS",
            "aiohttp runs without its C extensions: unset it, or install an aiohttp wheel",
        )


@contextlib.asynccontextmanager
async def listening(
    app: web.Application,
    host: str,
    port: int,
    *,
    stop_seconds: float = STOP_SECONDS,
    header_seconds: float = HEADER_SECONDS,
    keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
    or_any_port: bool = False,
    variable_prefix: str = "",
) -> AsyncIterator[Address]:
    """Serve while the block runs; `or_any_port` takes a free port where the given one is taken.

    Raises ConfigurationError when the address cannot be had; it names PORT or HOST.
    """
    require_fast_parser()
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,
        shutdown_timeout=stop_seconds,
    )
    await runner.setup()
    server = runner.server
    if server is None:
        raise RuntimeError("the runner has no server after its setup")
    loop = asyncio.get_running_loop()
    answers = app.get(ANSWERS) or answer_budget()

    def connection() -> web.RequestHandler:
        return _Connection(
            server,
            loop=loop,
            header_seconds=header_seconds,
            answers=answers,
            keepalive_timeout=keep_alive_seconds,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
            access_log=None,
        )

    try:
        listener = await _listen(
            loop, connection, host, port, or_any_port=or_any_port, prefix=variable_prefix
        )
        try:
            bound = listener.sockets[0].getsockname()
            yield Address(bound[0], bound[1])
        finally:
            # No new connections; those that are open are the runner's to end.
            listener.close()
    finally:
        await runner.cleanup()


async def _listen(
    loop: asyncio.AbstractEventLoop,
    connection: Callable[[], web.RequestHandler],
    host: str,
    port: int,
    *,
    or_any_port: bool,
    prefix: str,
) -> asyncio.Server:
    try:
        return await loop.create_server(connection, host, port, backlog=_BACKLOG)
    except OSError as error:
        if or_any_port and error.errno == errno.EADDRINUSE and port:
            return await _listen(loop, connection, host, 0, or_any_port=False, prefix=prefix)
        number = error.errno or 0
        # A name that is not found has a number of the resolver's.
        known = number in errno.errorcode
        reason = os.strerror(number).lower() if known else error.strerror or error
        variable = "PORT" if number in _PORT_REFUSED else "HOST"
        problem = f"cannot listen on {host}:{port}: {reason}"
        raise ConfigurationError(prefix + variable, problem) from None


class _Pieces(Payload):
    """A body that is sent as it is taken; written at once it would wait in memory, copied whole."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send it; each piece waits until there is room for it."""
        view = memoryview(self._value)
        for start in range(0, len(view), _PIECE_BYTES):
            await writer.write(view[start : start + _PIECE_BYTES])

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return str(self._value, encoding, errors)


class _Connection(web.RequestHandler):
    """aiohttp's connection with deadlines: for a whole header, and for taking an answer."""

    __slots__ = ("_answers", "_deadline", "_header_seconds", "_progress")

    def __init__(
        self,
        server: web.Server,
        *,
        header_seconds: float,
        answers: Budget,
        **kwargs: Any,  # noqa: ANN401 - aiohttp's own
    ) -> None:
        super().__init__(server, **kwargs)
        self._answers = answers
        self._header_seconds = header_seconds
        self._deadline: asyncio.TimerHandle | None = None
        self._progress: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock: nothing obliges the other side to send anything."""
        super().connection_made(transport)
        if self._manager is not None and len(self._manager.connections) > MOST_CONNECTIONS:
            _log.warning("connections_exhausted", most=MOST_CONNECTIONS)
            self.force_close()
            return
        self._start_clock()

    def data_received(self, data: bytes) -> None:
        """A whole header stops the clock; the first bytes of the next one start it again."""
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._stop_clock()
        elif self._waiter is not None and self._deadline is None:
            self._start_clock()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing is left to close."""
        self._stop_clock()
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; a client that takes nothing of it for long is cut off.

        However slow its line is, it may have all of a large file: there is no limit on the whole.
        """
        if isinstance(resp, web.HTTPExpectationFailed):
            # Where no route matches, aiohttp refuses by itself, before the middlewares.
            resp = unmet_expectation(request)
        with self._answers.hold(request.get(CALLER, NOBODY)) as held:
            return await self._finish(request, self._in_pieces(request, resp, held), start_time)

    def _in_pieces(
        self, request: web.BaseRequest, resp: web.StreamResponse, held: Held
    ) -> web.StreamResponse:
        body = resp.body if isinstance(resp, web.Response) else None
        if not isinstance(resp, web.Response) or not isinstance(body, bytes):
            return resp
        if len(body) <= _PIECE_BYTES:
            return resp
        try:
            # What anybody may have is there once for everybody.
            if CALLER in request and request.method != hdrs.METH_HEAD:
                held.take(len(body))
        except ProblemError as problem:
            return answer(problem, request_id=request[REQUEST_ID])
        resp.body = _Pieces(body)
        return resp

    async def _finish(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        try:
            async with asyncio.timeout(None) as limit:
                self._expect_progress(request, limit, taken=0)
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            _log.info("answer_not_taken", request_id=resp.headers.get("X-Request-Id"))
            if self.transport is not None:
                self.transport.abort()
            return resp, True
        finally:
            self._progress.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never reached the application: malformed HTTP, above all."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        if status >= _SERVER_ERROR:
            _log.error("connection_crashed", exc_info=exc)
        refusal = INTERNAL_ERROR if status >= _SERVER_ERROR else BAD_REQUEST
        request_id = uuid.uuid4().hex
        _log.info("request_malformed", request_id=request_id)
        response = answer(
            ProblemError(refusal, "the request is not well-formed HTTP"), request_id=request_id
        )
        response.headers.update({**SECURITY_HEADERS, "X-Request-Id": request_id})
        response.force_close()
        return response

    def _expect_progress(
        self, request: web.BaseRequest, limit: asyncio.Timeout, *, taken: int
    ) -> None:
        def look() -> None:
            transport = self.transport
            waiting = 0 if transport is None else transport.get_write_buffer_size()
            now = request.writer.output_size - waiting
            if now - taken < LEAST_TAKEN_BYTES:
                limit.reschedule(self._loop.time())
            else:
                self._expect_progress(request, limit, taken=now)

        self._progress = self._loop.call_later(TAKE_SECONDS, look)

    def _start_clock(self) -> None:
        self._deadline = self._loop.call_later(self._header_seconds, self._too_slow)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        self.force_close()
