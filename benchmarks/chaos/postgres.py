"""A PostgreSQL of the harness's own, that it can stop in every way there is and start again.

Not the embedded server of the product, which its users bring back by themselves: here the harness
alone decides when the server is there.
"""

import asyncio
import contextlib
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from wastewise_jobs.db.embedded.files import Place, find_place, make_data
from wastewise_jobs.db.embedded.process import answers, log_length, read_log, spawn
from wastewise_jobs.db.schema.migrate import migrate
from wastewise_jobs.db.to_the_end import to_the_end

_START_LIMIT_SECONDS = 90.0
_STOP_LIMIT_SECONDS = 60.0
_COPY_LIMIT_SECONDS = 10.0
_TEMPLATE = "chaos_template"
# Room for a fleet and for whoever looks on; durability is PostgreSQL's default.
_OPTIONS = {"max_connections": "300"}


class Ending(Enum):
    """How the server goes away."""

    FAST = signal.SIGINT
    IMMEDIATE = signal.SIGQUIT
    KILLED = signal.SIGKILL


class Postgres:
    """One server on one data folder; `running()` makes it."""

    def __init__(self, place: Place, options: Mapping[str, str]) -> None:
        self._place = place
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @asynccontextmanager
    async def running(cls, options: Mapping[str, str] = _OPTIONS) -> AsyncIterator["Postgres"]:
        """A server with a migrated template database, gone with its data afterwards."""
        home = Path(tempfile.mkdtemp(prefix="wwj-chaos-"))
        server = cls(await asyncio.to_thread(_prepare, home), options)
        try:
            await server.start()
            await server._make_template()
            yield server
        finally:
            # However often whoever is inside is cancelled.
            await to_the_end(server._remove(home))

    @property
    def socket(self) -> Path:
        """Where it listens; it has no other address."""
        return self._place.socket_folder / ".s.PGSQL.5432"

    def dsn(self, database: str, **settings: str) -> str:
        """The address of a database; `settings` are session settings of whoever uses it."""
        return with_settings(
            urlsplit(self._place.dsn)._replace(path=f"/{database}").geturl(), **settings
        )

    async def start(self) -> None:
        """Start it, and wait until it takes connections."""
        begin = log_length(self._place)
        until = time.monotonic() + _START_LIMIT_SECONDS
        while not await answers(self._place.dsn):
            if time.monotonic() > until:
                said = read_log(self._place, since=begin)
                raise RuntimeError(f"PostgreSQL does not start: {said}")
            if self._process is None or self._process.poll() is not None:
                # Children of a killed server hold its memory for a moment: try until they are gone.
                self._process = spawn(self._place, self._options)
            await asyncio.sleep(0.05)

    async def stop(self, how: Ending) -> None:
        """End the postmaster, and wait until it has ended."""
        if self._process is None:
            return
        self._process.send_signal(how.value)
        try:
            await asyncio.to_thread(self._process.wait, _STOP_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    async def _remove(self, home: Path) -> None:
        await self.stop(Ending.IMMEDIATE)
        shutil.rmtree(home)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The name of a migrated database, dropped afterwards."""
        name = f"chaos_{secrets.token_hex(4)}"
        await self._copy_template(name)
        try:
            yield name
        finally:
            with contextlib.suppress(OSError, asyncpg.PostgresError):
                await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _make_template(self) -> None:
        await self._execute(f"CREATE DATABASE {_TEMPLATE}")
        await migrate(self.dsn(_TEMPLATE))

    async def _copy_template(self, name: str) -> None:
        until = time.monotonic() + _COPY_LIMIT_SECONDS
        while True:
            try:
                return await self._execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
            except asyncpg.ObjectInUseError:
                # Autovacuum looks into the template just now.
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.1)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._place.dsn, timeout=20)
        try:
            await connection.execute(statement)
        finally:
            await connection.close(timeout=5)


def with_settings(dsn: str, **settings: str) -> str:
    """The address with session settings; `chaos__process` stands for chaos.process."""
    given = "".join(f"&{name.replace('__', '.')}={value}" for name, value in settings.items())
    return dsn + given


def _prepare(home: Path) -> Place:
    # The server's user must be able to pass.
    home.chmod(0o711)
    place = find_place(home, None)
    with (home / "initdb.lock").open("ab") as lock:
        make_data(place, lock=lock.fileno(), sync=False)
    return place
