"""PostgreSQL for the tests: one server a session, one migrated template, a clone of it per test."""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg
import pytest

from tests.support.browser import browser_page
from wastewise_jobs.db.embedded.server import embedded_postgres
from wastewise_jobs.db.pool import Pool, create_pool
from wastewise_jobs.db.schema.migrate import migrate

# Speed, at the price of what a power cut does to a database that lives for one test session.
UNSAFE_AND_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}
RUN = f"wwj_test_{os.getpid()}_{secrets.token_hex(3)}"


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[str]:
    """The DSN of a server on this machine, by a superuser or a role that may create databases."""
    async with _given() if os.environ.get("TEST_DATABASE_URL") else _embedded() as dsn:
        yield dsn
        await _drop_databases_of_this_run(dsn)


@pytest.fixture(scope="session")
async def server_version(postgres: str) -> int:
    """The major version."""
    async with connected(postgres) as connection:
        return connection.get_server_version().major


@pytest.fixture(scope="session")
async def template(postgres: str) -> str:
    """The name of a migrated database, to be cloned and never to be connected to."""
    name = f"{RUN}_template"
    async with connected(postgres) as connection:
        await connection.execute(f'CREATE DATABASE "{name}"')
    await migrate(dsn_of(postgres, name))
    return name


@pytest.fixture
async def page() -> AsyncIterator[Any]:
    """A page of a real browser."""
    async with browser_page() as page:
        yield page


@pytest.fixture
async def db(postgres: str, template: str, server_version: int) -> AsyncIterator[str]:
    """The DSN of a migrated database of this test's own."""
    async with database(postgres, template=template, version=server_version) as dsn:
        yield dsn


@pytest.fixture
async def empty_db(postgres: str) -> AsyncIterator[str]:
    """The DSN of a database in which nothing is."""
    async with database(postgres) as dsn:
        yield dsn


@pytest.fixture
async def pool(db: str) -> AsyncIterator[Pool]:
    """The project's own pool on a migrated database of this test's own."""
    pool = await create_pool(db, min_size=1, max_size=10)
    try:
        yield pool
        # A connection that a test did not give back makes close() wait for ever.
        await asyncio.wait_for(pool.close(), timeout=10)
    finally:
        pool.terminate()


@asynccontextmanager
async def database(
    server: str, *, template: str | None = None, version: int = 0
) -> AsyncIterator[str]:
    name = f"{RUN}_{secrets.token_hex(6)}"
    async with connected(server) as connection:
        await _create_database(connection, name, template, version)
    try:
        yield dsn_of(server, name)
    finally:
        async with connected(server) as connection:
            await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(dsn, timeout=20)
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


def dsn_of(server: str, name: str) -> str:
    """The same address with another database."""
    return urlsplit(server)._replace(path=f"/{name}").geturl()


async def _create_database(
    connection: "asyncpg.Connection[asyncpg.Record]",
    name: str,
    template: str | None,
    version: int,
) -> None:
    statement = f'CREATE DATABASE "{name}"'
    if template:
        statement += f' TEMPLATE "{template}"'
        # Copying the files of a small template is faster than logging its pages.
        statement += " STRATEGY file_copy" if version >= 15 else ""
    for patience in range(50):
        try:
            await connection.execute(statement)
        except asyncpg.ObjectInUseError:
            # Autovacuum, or another clone being made, is connected to the template just now.
            await asyncio.sleep(0.02 * (patience + 1))
        else:
            return
    pytest.fail(f"the template {template} stays in use")


async def _drop_databases_of_this_run(dsn: str) -> None:
    async with connected(dsn) as connection:
        names = await connection.fetch(
            "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", RUN
        )
        for (name,) in names:
            await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@asynccontextmanager
async def _embedded() -> AsyncIterator[str]:
    home = reachable_folder()
    binaries = os.environ.get("WASTEWISE_PG_BIN")
    try:
        async with embedded_postgres(
            home, bin_dir=Path(binaries) if binaries else None, options=UNSAFE_AND_FAST
        ) as dsn:
            yield dsn
    finally:
        shutil.rmtree(home)


def reachable_folder() -> Path:
    """A folder that root's server may enter too; pytest's tmp_path has mode 0700 above it."""
    folder = Path(tempfile.mkdtemp(prefix="wwj-test-"))
    folder.chmod(0o711)
    return folder


@asynccontextmanager
async def _given() -> AsyncIterator[str]:
    dsn = os.environ["TEST_DATABASE_URL"]
    # Before the first statement: the tests create and drop databases there.
    assert is_on_this_machine(dsn), "TEST_DATABASE_URL must be on loopback or a unix socket"
    try:
        async with connected(dsn) as connection:
            await connection.execute("SELECT 1")
    except (OSError, asyncpg.PostgresError) as error:
        pytest.exit(f"TEST_DATABASE_URL cannot be reached: {error}", returncode=3)
    yield dsn


def is_on_this_machine(dsn: str) -> bool:
    """Every host of the address is a unix socket or loopback; none at all means asyncpg's guess."""
    parts = urlsplit(dsn)
    words = dict(parse_qsl(parts.query))
    named = words.get("host") or unquote(parts.netloc.rpartition("@")[2])
    hosts = [host for host in named.split(",") if host]
    return bool(hosts) and all(_is_local(host) for host in hosts)


def _is_local(host: str) -> bool:
    if host.startswith("/"):
        return True
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
