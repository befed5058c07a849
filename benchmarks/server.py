"""The PostgreSQL that everything is measured on: our embedded one, with default durability."""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil

from benchmarks.peer import Peer, act
from wastewise_jobs.db.embedded.server import embedded_postgres


class Server:
    """Makes a database for each run; `folder` takes logs."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn = dsn
        self.folder = folder
        self._made = 0
        self._templates: set[str] = set()

    def address(self, name: str) -> str:
        return urlsplit(self.dsn)._replace(path=f"/{name}").geturl()

    async def connect(self, name: str = "postgres") -> asyncpg.Connection:
        return await asyncpg.connect(self.address(name))

    @asynccontextmanager
    async def database(self, peer: Peer) -> AsyncIterator[str]:
        """A fresh one that is set up for the peer; yields its name."""
        template = f"template_{peer.name.replace('-', '_')}"
        self._made += 1
        name = f"run_{self._made}"
        admin = await self.connect()
        try:
            if template not in self._templates:
                await admin.execute(f"CREATE DATABASE {template}")
                await act(peer, self.address(template), "setup")
                self._templates.add(template)
            await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
            try:
                yield name
            finally:
                await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            await admin.close()

    def cpu_seconds(self) -> float:
        """What the server's processes have used; those that ended count through their parent."""
        pid = int((self.folder / "home/server/data/postmaster.pid").read_text().split()[0])
        postmaster = psutil.Process(pid)
        ended = postmaster.cpu_times()
        used = ended.user + ended.system + ended.children_user + ended.children_system
        for process in postmaster.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used += times.user + times.system
        return float(used)

    async def checkpoint(self) -> None:
        admin = await self.connect()
        await admin.execute("CHECKPOINT")
        await admin.close()


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    """A server of our own in a temporary folder; asserts that it is durable."""
    folder = Path(tempfile.mkdtemp(prefix="wastewise-bench-"))
    # The server's user must be able to pass through.
    folder.chmod(0o711)
    try:
        async with embedded_postgres(folder / "home") as dsn:
            connection = await asyncpg.connect(dsn)
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                assert await connection.fetchval(f"SHOW {setting}") == "on", setting
            await connection.close()
            yield Server(dsn, folder)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
