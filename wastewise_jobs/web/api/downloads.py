"""Large contents on their way to slow readers: a piece at a time, each read when it is wanted.

Between two pieces nothing is held but the last one: no connection, no transaction. What was
replaced meanwhile ends the download: half of one file and half of another is worse than a break.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import hdrs, web

from wastewise_jobs.logs import get_logger
from wastewise_jobs.web.http import server
from wastewise_jobs.web.http.budget import Budget
from wastewise_jobs.web.http.caller import Caller
from wastewise_jobs.web.http.limits import Gate
from wastewise_jobs.web.http.problems import TOO_MANY_DOWNLOADS
from wastewise_jobs.web.http.route import READ_SECONDS, REQUEST_ID

PIECE_BYTES = 128 * 1024
_TAKEN_AT_ONCE = 32 * 1024
# The piece, and its copy on the way to the socket.
_HELD_BYTES = 2 * PIECE_BYTES
_MOST_OF_A_USER = 32

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be sent: how long it is, its first piece, and how to read on from an offset.

    `read` returns None when it is no longer there as it was.
    """

    size: int
    head: bytes
    read: Callable[[int], Awaitable[bytes | None]]


class Downloads:
    """Sends contents; so many at once for each user, all of them within the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._gate = Gate(_MOST_OF_A_USER, TOO_MANY_DOWNLOADS, "downloads")

    async def send(
        self, request: web.Request, caller: Caller, content: Content, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """The answer, sent already where it is a large one."""
        if content.size <= len(content.head):
            return web.Response(body=content.head, headers=headers)
        response = web.StreamResponse(headers=headers)
        response.content_length = content.size
        with self._gate.enter(caller), self._budget.hold(caller) as held:
            held.take(_HELD_BYTES)
            await response.prepare(request)
            if request.method != hdrs.METH_HEAD:
                await _send(request, response, content)
        return response


async def _send(request: web.Request, response: web.StreamResponse, content: Content) -> None:
    try:
        if await _send_all(response, content):
            return
        _log.info("download_broken", reason="replaced")
    except ConnectionResetError:
        return
    except _NotTakenError:
        _log.info("answer_not_taken", request_id=request[REQUEST_ID])
    except Exception as error:  # noqa: BLE001 - a handler's run: the answer has begun, so it can only end
        _log.info("download_broken", reason=type(error).__name__)
    if request.transport is not None:
        # Not an orderly end: the client is to see that something is missing.
        request.transport.abort()


async def _send_all(response: web.StreamResponse, content: Content) -> bool:
    """False when the rest is not there any more."""
    piece: bytes | None = content.head
    sent = 0
    while piece:
        await _write(response, piece)
        sent += len(piece)
        if sent >= content.size:
            return True
        async with asyncio.timeout(READ_SECONDS):
            piece = await content.read(sent)
    return False


async def _write(response: web.StreamResponse, piece: bytes) -> None:
    view = memoryview(piece)
    for start in range(0, len(view), _TAKEN_AT_ONCE):
        try:
            async with asyncio.timeout(server.TAKE_SECONDS):
                await response.write(view[start : start + _TAKEN_AT_ONCE])
        except TimeoutError:
            raise _NotTakenError from None


class _NotTakenError(Exception):
    """The client took too little for too long."""
