"""Several hosts of which one is silent: frozen, unplugged, or never there."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import psutil
import pytest

from benchmarks.chaos.proxy import Proxy, proxy_to
from tests.conftest import UNSAFE_AND_FAST, connected, reachable_folder
from tests.support.waiting import eventually
from tests.support.workers import bench
from wastewise_jobs import JobContext, Jobs
from wastewise_jobs.db import connect as connect_module
from wastewise_jobs.db import silence
from wastewise_jobs.db.connect import connect, connect_and_tell, in_order
from wastewise_jobs.db.embedded.binaries import run
from wastewise_jobs.db.embedded.files import Place, find_place
from wastewise_jobs.db.embedded.process import postmasters, spawn
from wastewise_jobs.db.embedded.server import embedded_postgres
from wastewise_jobs.db.notifier import Notifier
from wastewise_jobs.db.pool import create_pool
from wastewise_jobs.db.schema.migrate import migrate
from wastewise_jobs.dsn import Dsn, Host, read_dsn
from wastewise_jobs.jobs.model import Enqueued

PATIENCE = 60.0
# The heartbeat writes here, and the listener listens here.
HEARD_OF = """
SELECT EXISTS (SELECT FROM public.job_workers WHERE last_heartbeat_at > $1)
   AND EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'wastewise-jobs listener')
"""


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_module, "HOST_SECONDS", 0.5)
    monkeypatch.setattr(silence, "DOUBT_SECONDS", 0.2)
    monkeypatch.setattr(silence, "SILENCE_SECONDS", 0.5)


@asynccontextmanager
async def silent_host() -> AsyncIterator[tuple[Host, list[object]]]:
    """It takes connections and says nothing; who came is in the list."""
    came: list[object] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer)
        while await reader.read(1024):
            pass
        writer.close()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    async with server:
        yield Host("127.0.0.1", server.sockets[0].getsockname()[1]), came


def together(dsn: str, *hosts: Host, **words: str) -> str:
    """The address of all these hosts, those of `dsn` last."""
    address = read_dsn(dsn)
    both = replace(address, hosts=(*hosts, *address.hosts), words={**address.words, **words})
    return both.of_database(address.database)


async def test_a_silent_host_has_its_own_limit_and_is_asked_last_from_then_on(db: str) -> None:
    async with silent_host() as (silent, came):
        dsn = together(db, silent)
        for _ in range(3):
            connection = await connect(dsn, timeout=60)
            assert await connection.fetchval("SELECT current_database()") in db
            await connection.close()
        assert len(came) == 1


async def test_whoever_is_cut_off_at_a_silent_host_begins_with_the_other(db: str) -> None:
    async with silent_host() as (silent, came):
        dsn = together(db, silent, connect_timeout="100")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await connect(dsn, timeout=100)
        await (await connect(dsn, timeout=100)).close()
        assert len(came) == 1


async def test_hosts_that_refuse_are_passed_over(db: str) -> None:
    dsn = together(db, Host("127.0.0.1", 1), Host("/nowhere"))
    _, place = await connect_and_tell(dsn)
    assert place.hosts == read_dsn(db).hosts


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("primary", True),
        ("read-write", True),
        ("any", True),
        ("prefer-standby", True),
        ("standby", False),
        ("read-only", False),
    ],
)
async def test_what_a_session_must_be_is_asked_of_each_host(
    db: str, wanted: str, *, found: bool
) -> None:
    dsn = together(db, Host("127.0.0.1", 1), target_session_attrs=wanted)
    if found:
        await (await connect(dsn)).close()
    else:
        with pytest.raises((OSError, asyncpg.TargetServerAttributeNotMatched)):
            await connect(dsn)


async def test_migrations_find_the_host_that_answers(empty_db: str) -> None:
    async with silent_host() as (silent, came):
        assert await migrate(together(empty_db, silent))
        # psycopg is handed the one that was found.
        assert len(came) == 1


async def test_the_listener_finds_the_host_that_answers(db: str) -> None:
    async with silent_host() as (silent, _):
        notifier = Notifier(
            together(db, silent, connect_timeout="100"),
            ["wastewise_wake"],
            on_message=lambda *_: None,
            on_connect=lambda: None,
            check_every=0.5,
            check_limit=0.5,
        )
        task = asyncio.create_task(notifier.run())
        try:
            await eventually(lambda: notifier.listening, within=PATIENCE)
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def two_ways(dsn: str) -> AsyncIterator[tuple[Proxy, str]]:
    """One database behind two hosts, the first of which can go silent."""
    async with proxy_to(dsn) as first, proxy_to(dsn) as second:
        there = read_dsn(second.dsn()).hosts[0]
        address = read_dsn(first.dsn())
        both = replace(address, hosts=(*address.hosts, there))
        yield first, both.of_database(address.database)


async def test_connections_to_a_host_that_went_silent_are_given_up(db: str) -> None:
    async with (
        two_ways(db) as (first, dsn),
        create_pool(dsn, min_size=3, max_size=3, command_timeout=100) as pool,
    ):
        await pool.fetchval("SELECT 1")
        first.swallow()
        # Each is dropped long before the limit of its statement, those that wait with it as well.
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)) as caught:
            await pool.fetchval("SELECT 1", timeout=100)
        assert not isinstance(caught.value, TimeoutError)
        answers = await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(3)))
        assert answers == [1, 1, 1]


async def test_a_host_that_became_read_only_is_asked_last(db: str) -> None:
    async with two_ways(db) as (_, dsn), create_pool(dsn, max_size=1) as pool:
        before = in_order(read_dsn(dsn))[0]
        async with pool.acquire() as connection:
            await connection.execute("SET default_transaction_read_only = on")
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await connection.execute("CREATE TABLE t (i int)")
        await pool.fetchval("SELECT 1")
        assert in_order(read_dsn(dsn))[0] != before


async def test_a_long_statement_of_a_host_that_answers_is_left_alone(db: str) -> None:
    async with two_ways(db) as (first, dsn), create_pool(dsn, max_size=1) as pool:
        async with pool.acquire() as connection:
            pid = connection.get_server_pid()
            before = first.accepted
            await connection.execute("SELECT pg_sleep(1)")
            # It was asked for a sign of life, and gave one.
            await eventually(lambda: first.accepted > before)
        assert await pool.fetchval("SELECT pg_backend_pid()") == pid


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary, and a standby that follows it."""

    primary: Place
    standby: Place
    dsn: str

    def freeze(self) -> None:
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        for postmaster in postmasters(self.primary.data):
            for process in (postmaster, *postmaster.children(recursive=True)):
                process.send_signal(number)

    async def promote(self) -> None:
        async with connected(self.standby.dsn) as connection:
            assert await connection.fetchval("SELECT pg_promote()")


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    home = reachable_folder()
    folder = home / "standby"
    try:
        async with embedded_postgres(home / "primary", options=UNSAFE_AND_FAST) as dsn:
            await migrate(dsn)
            primary = find_place(home / "primary", None)
            sockets = home / "s"
            for one in (folder, sockets):
                one.mkdir(mode=0o700)
                if primary.user is not None:
                    shutil.chown(one, primary.user.pw_uid, primary.user.pw_gid)
            standby = replace(primary, base=folder, socket_folder=sockets)
            pair = Pair(primary, standby, _both(dsn, sockets))
            async with _following(pair):
                yield pair
    finally:
        shutil.rmtree(home)


def _both(dsn: str, sockets: Path) -> str:
    address = read_dsn(dsn)
    both: Dsn = replace(
        address,
        hosts=(*address.hosts, Host(str(sockets), 5432)),
        words={**address.words, "target_session_attrs": "primary"},
    )
    return both.of_database(address.database)


@asynccontextmanager
async def _following(pair: Pair) -> AsyncIterator[None]:
    place = pair.standby
    command = [str(place.binaries / "pg_basebackup"), "-D", str(place.data), "-R", "-c", "fast"]
    command += ["-h", str(pair.primary.socket_folder), "-U", "postgres"]
    copied = await asyncio.to_thread(run, command, place.user, cwd=place.base)
    assert copied.returncode == 0, copied.stderr
    popen = spawn(place, UNSAFE_AND_FAST)

    async def follows() -> bool:
        try:
            async with connected(pair.primary.dsn) as connection:
                state = await connection.fetchval("SELECT state FROM pg_stat_replication")
            async with connected(place.dsn) as connection:
                return bool(await connection.fetchval("SELECT pg_is_in_recovery()")) and (
                    state == "streaming"
                )
        except (OSError, asyncpg.PostgresError):
            return False

    try:
        await eventually(follows, within=PATIENCE)
        yield
    finally:
        pair.thaw()
        psutil.Process(popen.pid).send_signal(signal.SIGQUIT)
        await asyncio.to_thread(popen.wait, 60)


async def test_work_goes_on_at_the_promoted_standby_while_the_primary_is_frozen() -> None:
    jobs = Jobs()

    @jobs.handler("nothing")
    async def nothing(job: JobContext) -> None: ...

    async with pair() as both, bench(both.dsn, jobs) as service, service.worker():
        before = await nothing.enqueue()
        await service.until(before.id, "completed", within=PATIENCE)
        both.freeze()
        await both.promote()

        async def enqueued() -> Enqueued | None:
            try:
                return await nothing.enqueue()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return None

        after = await eventually(enqueued, within=PATIENCE)
        assert after is not None
        async with connected(both.standby.dsn) as connection:

            async def completed() -> bool:
                query = "SELECT status FROM public.analysis_jobs WHERE id = $1"
                return bool(await connection.fetchval(query, after.id) == "completed")

            await eventually(completed, within=PATIENCE)
            since = await connection.fetchval("SELECT now()")

            async def everybody_came() -> bool:
                return bool(await connection.fetchval(HEARD_OF, since))

            await eventually(everybody_came, within=PATIENCE)
