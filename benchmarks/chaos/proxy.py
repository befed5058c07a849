"""A TCP proxy in front of PostgreSQL that goes silent, or cuts a connection at the worst moment.

It reads what clients send: the name they give themselves at the start, and which statement they
have executed, so that a cut can wait for the statement that commits.
"""

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import parse_qs, urlsplit

_CHUNK = 64 * 1024
_ANSWER_SECONDS = 10.0


class Cut(Enum):
    """When a connection is cut after a statement was sent that changes something."""

    # The server has answered: it is done, and the client never hears of it.
    ANSWERED = auto()
    # The client is cut off at once; the server finds out only when it answers.
    AT_ONCE = auto()


@dataclass(slots=True)
class Link:
    """One connection through the proxy; `silent` swallows bytes both ways for good.

    `settings` are what the client said of itself and its session when it connected.
    """

    settings: dict[str, str] = field(default_factory=dict)
    silent: bool = False
    statements: dict[str, str] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)
    cut: Cut | None = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class Proxy:
    """`swallow(...)` until `heal()`; `cut_next(...)` arms one cut and says when it was made."""

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        words = parse_qs(parts.query)
        self._host = words.get("host", [parts.hostname])[0] or "localhost"
        self._server_port = int(words.get("port", [str(parts.port or 5432)])[0])
        self._user = parts.username or words.get("user", ["postgres"])[0]
        self._secret = f":{parts.password}" if parts.password else ""
        self._connections: set[asyncio.Task[None]] = set()
        self._swallowed: Callable[[Link], bool] = lambda _: False
        self._armed: tuple[re.Pattern[str], Cut, asyncio.Future[None]] | None = None
        self._database = parts.path.lstrip("/")
        self.links: list[Link] = []
        # How many connections there were so far.
        self.accepted = 0
        self.port = 0

    def dsn(self, database: str | None = None) -> str:
        """The address of a database through here; of the given one's own without a name."""
        place = f"{self._user}{self._secret}@127.0.0.1:{self.port}"
        return f"postgresql://{place}/{database or self._database}?sslmode=disable"

    def swallow(self, which: Callable[[Link], bool] = lambda _: True) -> None:
        """Open and new connections that are meant go silent; the open ones stay so for good."""
        self._swallowed = which
        for link in self.links:
            link.silent = link.silent or which(link)

    def heal(self) -> None:
        """New connections work again."""
        self._swallowed = lambda _: False

    def cut_next(self, statement: str, how: Cut) -> "asyncio.Future[None]":
        """Cut the connection that next executes a statement like that; done when it was cut."""
        made: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._armed = (re.compile(statement), how, made)
        return made

    def disarm(self) -> None:
        """Cut nothing more."""
        self._armed = None

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """For asyncio.start_server."""
        self.accepted += 1
        task = asyncio.create_task(self._serve(reader, writer), name="proxied connection")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def close(self) -> None:
        """Cut everything."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link()
        self.links.append(link)
        there: asyncio.StreamWriter | None = None
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, FileNotFoundError):
                first = await _startup(reader)
                link.settings = _settings(first)
                link.silent = self._swallowed(link)
                while link.silent and await reader.read(_CHUNK):
                    pass
                answers, there = await self._connect()
                there.write(first)
                await self._pass_on(link, (reader, there), (answers, writer))
        finally:
            self.links.remove(link)
            for end in (writer, there):
                if end is not None:
                    end.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._server_port}")
        return await asyncio.open_connection(self._host, self._server_port)

    async def _pass_on(
        self,
        link: Link,
        asking: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        answering: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        there = asyncio.create_task(self._ask(link, *asking))
        back = asyncio.create_task(self._answer(link, *answering))
        try:
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (there, back):
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)

    async def _ask(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        rest = b""
        while data := await reader.read(_CHUNK):
            if link.silent:
                continue
            rest = _read_messages(link, rest + data)
            made = self._take_cut(link)
            writer.write(data)
            await writer.drain()
            if made is not None:
                if link.cut is Cut.ANSWERED:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(link.answered.wait(), _ANSWER_SECONDS)
                made.set_result(None)
                return

    def _take_cut(self, link: Link) -> "asyncio.Future[None] | None":
        executed, link.executed = link.executed, []
        if self._armed is None or not any(self._armed[0].search(text) for text in executed):
            return None
        _, link.cut, made = self._armed
        self._armed = None
        return made

    async def _answer(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(_CHUNK):
            if link.cut is not None:
                link.answered.set()
            elif not link.silent:
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def proxy_to(dsn: str) -> AsyncIterator[Proxy]:
    """A proxy in front of that server."""
    proxy = Proxy(dsn)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()


async def _startup(reader: asyncio.StreamReader) -> bytes:
    length = await reader.readexactly(4)
    return length + await reader.readexactly(struct.unpack("!i", length)[0] - 4)


def _settings(startup: bytes) -> dict[str, str]:
    # A request to cancel has bytes that are no text.
    words = startup[8:].decode(errors="replace").split("\0")
    return dict(zip(words[::2], words[1::2], strict=False))


def _read_messages(link: Link, data: bytes) -> bytes:
    """Note which statements were executed; the rest is the beginning of another message."""
    while len(data) > 4:
        length = struct.unpack_from("!i", data, 1)[0] + 1
        if len(data) < length:
            break
        _note(link, data[:1], data[5:length])
        data = data[length:]
    return data


def _note(link: Link, mark: bytes, body: bytes) -> None:
    match mark:
        case b"P":
            name, text, *_ = body.split(b"\0", 2)
            link.statements[name.decode()] = text.decode()
        case b"B":
            _, name, *_ = body.split(b"\0", 2)
            link.executed.append(link.statements.get(name.decode(), ""))
        case b"Q":
            link.executed.append(body.rstrip(b"\0").decode())
