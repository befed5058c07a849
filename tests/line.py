"""A line to the database that can be cut without anybody being told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit


class Line:
    """What lies between the service and the database; `cut` keeps it open and silent.

    A connection that was there when the line was cut stays silent for good.
    """

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        host = parse_qs(parts.query).get("host", [parts.hostname])[0] or "localhost"
        port = int(parse_qs(parts.query).get("port", [str(parts.port or 5432)])[0])
        self._target = (host, port)
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0

    def cut(self) -> None:
        self._flows.clear()

    def mend(self) -> None:
        self._flows = asyncio.Event()
        self._flows.set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flows = self._flows
        host, port = self._target
        if host.startswith("/"):
            there = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            there = await asyncio.open_connection(host, port)
        try:
            await asyncio.gather(
                self._pass(reader, there[1], flows), self._pass(there[0], writer, flows)
            )
        finally:
            writer.close()
            there[1].close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(64 * 1024):
                await flows.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def line_to(dsn: str) -> AsyncIterator[tuple[Line, str]]:
    line = Line(dsn)
    server = await asyncio.start_server(line.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    parts = urlsplit(dsn)
    user = parts.username or parse_qs(parts.query).get("user", ["postgres"])[0]
    secret = f":{parts.password}" if parts.password else ""
    try:
        yield line, f"postgresql://{user}{secret}@127.0.0.1:{port}{parts.path}?sslmode=disable"
    finally:
        server.close()
        await line.close()
