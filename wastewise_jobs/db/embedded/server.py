"""A PostgreSQL of our own, for when DATABASE_URL is not set: development, the demo, the tests.

    async with embedded_postgres(settings.wastewise_home) as dsn: ...

Processes with the same home share one server; whoever leaves last stops it. Two flocks say who is
there, because the kernel drops them with their process: `users.lock`, held shared by everyone
inside, and `start.lock`, held by whoever is starting or stopping the server. What postmaster.pid
says is never believed: a server runs if it answers, or if a process was started on our data.
Whatever was killed, the next one in recovers it; a server that dies under its users is brought
back by one of them.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

import psutil

from wastewise_jobs.db.embedded.binaries import drop_old_copies
from wastewise_jobs.db.embedded.files import (
    Place,
    check_home,
    find_place,
    make_data,
    make_home,
    open_lock,
)
from wastewise_jobs.db.embedded.process import (
    accepts,
    answers,
    is_postmaster,
    log_length,
    postmasters,
    read_log,
    spawn,
)
from wastewise_jobs.db.embedded.watch import watched
from wastewise_jobs.db.to_the_end import to_the_end
from wastewise_jobs.errors import ConfigurationError, DatabaseUnusableError
from wastewise_jobs.logs import get_logger

log = get_logger(__name__)

_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
_START_LIMIT_SECONDS = 120.0
_STOP_LIMIT_SECONDS = 60.0
# Whoever holds the start lock needs at most this long, initdb included.
_LOCK_LIMIT_SECONDS = 240.0
_SLOW_SECONDS = 3.0
_POLL_SECONDS = 0.03
_RETRY_SECONDS = 0.5

# A killed server's children hold its memory until they notice; only then may another start.
_LEFTOVERS_OF_A_KILLED_SERVER = ("shared memory block", 'lock file "postmaster.pid"')


@asynccontextmanager
async def embedded_postgres(
    home: Path,
    *,
    bin_dir: Path | None = None,
    options: Mapping[str, str] = _NO_OPTIONS,
    leave_later: Callable[[Callable[[object], None]], None] = lambda _: None,
) -> AsyncIterator[str]:
    """Yield the DSN of a running server, started if need be; superuser, unix socket, no TCP.

    `options` are server settings; they count only for whoever starts the server. Raises
    ConfigurationError or DatabaseUnusableError with what to do. asyncio turns no SIGTERM into a
    cancellation: whoever enters this must, or the server stays until the next one leaves.
    """
    home = Path(os.path.abspath(home))  # noqa: PTH100, ASYNC240 - no I/O, and no link followed
    with _locks(home) as locks:
        await _take_start_lock(locks)
        # From here on the server counts as used, so that whoever is cancelled also cleans up.
        fcntl.flock(locks.users, fcntl.LOCK_SH)
        server = _Server(home, bin_dir, options)
        leave_later(lambda _: _leave(locks, server))
        try:
            await to_the_end(server.run(locks.start.fileno()))
            fcntl.flock(locks.start, fcntl.LOCK_UN)
            async with watched(server.lives, lambda: _bring_back(locks, server)):
                yield server.dsn
        finally:
            await to_the_end(asyncio.to_thread(_leave, locks, server))


@dataclass(frozen=True, slots=True)
class _Locks:
    users: IO[bytes]
    start: IO[bytes]


@contextmanager
def _locks(home: Path) -> Iterator[_Locks]:
    try:
        make_home(home)
        check_home(home)
        users = open_lock(home / "users.lock")
        start = open_lock(home / "start.lock")
    except OSError as error:
        raise _unusable(home, error) from error
    with users, start:
        yield _Locks(users, start)


def _unusable(home: Path, error: OSError) -> ConfigurationError:
    where = error.filename or home
    problem = f"{home} cannot be used for a PostgreSQL of our own: {error.strerror} ({where})"
    return ConfigurationError("WASTEWISE_HOME", problem)


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _take_start_lock(locks: _Locks) -> None:
    """Polled, since a blocking flock would stop the loop, or hold a thread that nothing ends."""
    async with _limit(_LOCK_LIMIT_SECONDS, "another process is still starting or stopping it"):
        while not _try_lock(locks.start):  # noqa: ASYNC110 - another process holds it
            await asyncio.sleep(_POLL_SECONDS)


async def _bring_back(locks: _Locks, server: "_Server") -> None:
    await _take_start_lock(locks)
    try:
        await server.run_again()
    finally:
        fcntl.flock(locks.start, fcntl.LOCK_UN)


def _leave(locks: _Locks, server: "_Server") -> None:
    """Stop the server if nobody else is inside. Runs in a thread, where no cancellation comes."""
    until = time.monotonic() + _LOCK_LIMIT_SECONDS
    while not _try_lock(locks.start) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    if _try_lock(locks.users):
        server.stop()
    else:
        server.leave_running()


@asynccontextmanager
async def _limit(seconds: float, problem: str) -> AsyncIterator[None]:
    """Bound a wait, and say in the log when it becomes a long one."""
    loop = asyncio.get_running_loop()
    slow = loop.call_later(_SLOW_SECONDS, lambda: log.info("embedded_postgres_slow", why=problem))
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise DatabaseUnusableError(
            f"the embedded PostgreSQL is not up after {seconds:.0f} s: {problem}"
        ) from error
    finally:
        slow.cancel()


class _Server:
    """One postmaster on one data directory; call all but lives() under the start lock."""

    def __init__(self, home: Path, bin_dir: Path | None, options: Mapping[str, str]) -> None:
        self._home = home
        self._bin_dir = bin_dir
        self._options = options
        self._place: Place | None = None
        self._started: subprocess.Popen[bytes] | None = None
        self._seen: psutil.Process | None = None
        self._log_begins_at = 0

    @property
    def dsn(self) -> str:
        return self._where.dsn

    @property
    def _where(self) -> Place:
        if self._place is None:
            raise RuntimeError("the server's place is known only after run()")
        return self._place

    async def run(self, lock: int) -> None:
        """See to it that a server answers."""
        await asyncio.to_thread(self._prepare, lock)
        await self._until_it_answers()
        if self._started is not None:
            log.debug("embedded_postgres_started", data=str(self._where.data))

    async def run_again(self) -> None:
        """Start a server that is gone, unless another process did so meanwhile.

        The data is taken as it is: lost data must not become an empty database under its users.
        """
        if await self.lives():
            return
        # What it wrote when it ended says nothing about why the next one does not start.
        self._started = None
        await self._until_it_answers()
        if self._started is not None:
            log.warning("embedded_postgres_restarted", data=str(self._where.data))

    async def lives(self) -> bool:
        """Whether a server runs; asks the processes, so that it costs no connection."""
        return await to_the_end(asyncio.to_thread(self._lives))

    def _lives(self) -> bool:
        if self._started is not None and self._started.poll() is None:
            return True
        data = self._where.data
        if self._seen is None or not is_postmaster(self._seen, data):
            self._seen = next(iter(postmasters(data)), None)
        # One in another container that shares our home has no process here, only a socket.
        return self._seen is not None or accepts(self._where)

    async def _until_it_answers(self) -> None:
        """May be cancelled: a thread never starts a server after that."""
        async with _limit(_START_LIMIT_SECONDS, f"see {self._where.log}"):
            while not await answers(self._where.dsn):
                # One that is recovering, or that a killed process was stopping, needs only time.
                if not await asyncio.to_thread(postmasters, self._where.data):
                    await to_the_end(asyncio.to_thread(self._start))
                await asyncio.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop it in order (`fast`): sessions end, a checkpoint is written, the socket goes."""
        if self._place is None:
            return
        for how in (signal.SIGINT, signal.SIGQUIT):
            for process in postmasters(self._place.data):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(how)
            if self._gone(within=_STOP_LIMIT_SECONDS):
                # One below /tmp would outlive its home.
                with contextlib.suppress(OSError):
                    self._place.socket_folder.rmdir()
                log.debug("embedded_postgres_stopped", data=str(self._place.data))
                break
        else:
            log.warning("embedded_postgres_does_not_stop", data=str(self._place.data))
        self.leave_running()

    def leave_running(self) -> None:
        """Let go of our child: others use it, and it outlives us on purpose."""
        if self._started is not None and self._started.poll() is None:
            # Popen warns of a child that nobody waited for, unless it believes it has ended.
            self._started.returncode = 0

    def _prepare(self, lock: int) -> None:
        try:
            self._place = find_place(self._home, self._bin_dir)
            make_data(self._place, lock=lock, sync=self._options.get("fsync") != "off")
            if not self._place.base.is_relative_to(self._home.resolve()):
                log.info("embedded_postgres_elsewhere", folder=str(self._place.base))
        except OSError as error:
            raise _unusable(self._home, error) from error

    def _start(self) -> None:
        """Start the postmaster if the last one that we started has ended, or none was."""
        if self._started is not None:
            if self._started.poll() is None:
                return
            self._raise_unless_leftovers()
            time.sleep(_RETRY_SECONDS)
        drop_old_copies(self._where.base, self._where.binaries)
        self._log_begins_at = log_length(self._where)
        self._started = spawn(self._where, self._options)

    def _raise_unless_leftovers(self) -> None:
        said = read_log(self._where, since=self._log_begins_at)
        if not any(sign in said for sign in _LEFTOVERS_OF_A_KILLED_SERVER):
            raise DatabaseUnusableError(
                f"the embedded PostgreSQL on {self._where.data} does not start: {said}"
            )

    def _gone(self, *, within: float) -> bool:
        until = time.monotonic() + within
        while postmasters(self._where.data):
            if time.monotonic() > until:
                return False
            if self._started is not None:
                self._started.poll()
            time.sleep(_POLL_SECONDS)
        return True
