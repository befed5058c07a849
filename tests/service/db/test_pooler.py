"""A real PgBouncer in front of the database: what works, and what is named with its remedy."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.conftest import connected, reachable_folder
from tests.support.waiting import eventually
from wastewise_jobs.cli.checks import Finding, Grade, examine
from wastewise_jobs.db.opening import Addresses, checked_pool
from wastewise_jobs.db.schema.migrate import migrate
from wastewise_jobs.dsn import read_dsn
from wastewise_jobs.errors import DatabaseUnusableError
from wastewise_jobs.settings import Settings

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")

REMEDY = "set DATABASE_DIRECT_URL to the server itself"
ALL_OF_OURS = (
    "statement_timeout, idle_in_transaction_session_timeout, jit, tcp_keepalives_idle, "
    "tcp_keepalives_interval, tcp_keepalives_count, tcp_user_timeout"
)


@asynccontextmanager
async def pgbouncer(dsn: str, mode: str, *, ignored: str = "") -> AsyncIterator[str]:
    """The address of `dsn` through one of this pool mode."""
    address = read_dsn(dsn)
    (host,) = address.hosts
    folder = reachable_folder()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "pgbouncer.ini"
    secret = f" password={address.password}" if address.password else ""
    config.write_text(
        "[databases]\n"
        f"* = host={host.name} port={host.port or 5432} user={address.user}{secret}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = {mode}\ndefault_pool_size = 5\n"
        f"ignore_startup_parameters = {ignored or 'extra_float_digits'}\n"
    )
    popen = subprocess.Popen(
        [str(PROGRAM), str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=_user_of(host.name),
    )
    through = f"postgresql://{address.user}@127.0.0.1:{port}/{address.database}?sslmode=disable"

    async def answers() -> bool:
        try:
            async with connected(through):
                return True
        except (OSError, asyncpg.PostgresError):
            return False

    try:
        await eventually(answers, within=30)
        yield through
    finally:
        popen.kill()
        popen.wait(10)
        shutil.rmtree(folder)


def _user_of(host: str) -> str | None:
    """It refuses to be root; a socket is only for the user of its server."""
    if os.geteuid() != 0:
        return None
    return Path(host).owner() if host.startswith("/") else pwd.getpwnam("nobody").pw_name


async def findings(addresses: Addresses) -> dict[str, Finding]:
    settings = Settings(_env_file=None, database_url=addresses.pooled)
    return {one.check: one for one in await examine(settings, addresses, repair=False)}


async def start(addresses: Addresses) -> None:
    async with checked_pool(addresses) as pool:
        assert await pool.fetchval("SELECT count(*) FROM public.analysis_jobs") == 0


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_one_that_refuses_our_settings_is_named_by_start_and_doctor(
    db: str, mode: str
) -> None:
    async with pgbouncer(db, mode) as pooled:
        alone = Addresses(pooled, pooled)
        with pytest.raises(DatabaseUnusableError, match="unsupported startup parameter") as caught:
            await start(alone)
        assert "PgBouncer" in str(caught.value)
        assert str(caught.value).endswith(REMEDY)
        found = (await findings(alone))["database"]
        assert (found.verdict, found.advice) == (Grade.PROBLEM, REMEDY)
        assert "PgBouncer" in found.says


@pytest.mark.parametrize("word", ["", "&pgbouncer=true"])
async def test_one_that_loses_the_session_is_named_by_start_doctor_and_migrate(
    db: str, word: str
) -> None:
    async with pgbouncer(db, "transaction", ignored=ALL_OF_OURS) as pooled:
        alone = Addresses(pooled + word, pooled + word)
        with pytest.raises(DatabaseUnusableError, match="PgBouncer") as caught:
            await start(alone)
        assert str(caught.value).endswith(REMEDY)
        found = (await findings(alone))["listener"]
        assert found.verdict == Grade.PROBLEM
        assert REMEDY in found.advice
        with pytest.raises(DatabaseUnusableError, match=REMEDY):
            await migrate(pooled + word)


async def test_a_pooler_as_the_direct_address_is_named_as_such(db: str) -> None:
    async with pgbouncer(db, "transaction", ignored=ALL_OF_OURS) as pooled:
        with pytest.raises(DatabaseUnusableError, match=r"^DATABASE_DIRECT_URL: .*PgBouncer"):
            await start(Addresses(pooled, f"{pooled}&jit=off"))


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_with_a_direct_address_everything_works(db: str, mode: str) -> None:
    async with pgbouncer(db, mode) as pooled:
        both = Addresses(pooled, db)
        await start(both)
        found = await findings(both)
    bad = {one.check for one in found.values() if one.verdict == Grade.PROBLEM}
    assert bad <= {"tokens"}
    assert found["listener"].verdict == Grade.GOOD


async def test_a_session_pooler_that_lets_our_settings_pass_is_good_enough(db: str) -> None:
    async with pgbouncer(db, "session", ignored=ALL_OF_OURS) as pooled:
        await start(Addresses(pooled, pooled))
        assert (await findings(Addresses(pooled, pooled)))["listener"].verdict == Grade.GOOD
