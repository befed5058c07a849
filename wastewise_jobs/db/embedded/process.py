"""The server's process: whether it answers, whether it lives, and starting it."""

import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import asyncpg
import psutil

from wastewise_jobs.db import trouble
from wastewise_jobs.db.embedded.binaries import server_environment
from wastewise_jobs.db.embedded.files import Place

_LARGEST_LOG_BYTES = 10_000_000


async def answers(dsn: str) -> bool:
    """Whether a server takes connections there now; one with too many of them does."""
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
    except asyncpg.TooManyConnectionsError:
        return True
    except trouble.ERRORS:
        return False
    await connection.close(timeout=5)
    return True


def accepts(place: Place) -> bool:
    """Whether somebody listens on the socket; nothing is sent, so the server logs nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(str(place.socket_folder / ".s.PGSQL.5432"))
        except BlockingIOError:  # its queue is full
            return True
        except OSError:
            return False
    return True


def postmasters(data: Path) -> list[psutil.Process]:
    """Living processes that were started on this data directory; a zombie has no command line."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "postgres" and _is_postmaster(process.info["cmdline"], data)
    ]


def is_postmaster(process: psutil.Process, data: Path) -> bool:
    """Whether this process is still one of those; its number may be another's by now."""
    try:
        return _is_postmaster(process.cmdline(), data)
    except psutil.Error:
        return False


def _is_postmaster(command_line: list[str] | None, data: Path) -> bool:
    # The postmaster keeps its command line; its children write their own, as one word.
    words = command_line or []
    return "-D" in words[:-1] and words[words.index("-D") + 1] == str(data)


def spawn(place: Place, options: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the server in a session of its own, so that our Ctrl-C does not reach it.

    Not by pg_ctl, which sets PG_GRANDPARENT_PID itself: with that variable the server disregards
    the process that a stale postmaster.pid names, be it a zombie or another's by now.
    """
    user = place.user
    environment = server_environment()
    if stale := _stale_pid(place.data / "postmaster.pid"):
        environment["PG_GRANDPARENT_PID"] = stale
    with _open_log(place.log) as output:
        return subprocess.Popen(  # noqa: S603 - our own binaries
            [str(place.binaries / "postgres"), "-D", str(place.data), *_settings(place, options)],
            cwd=place.data,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )


def _stale_pid(pid_file: Path) -> str | None:
    """The process that the file names, which is no server of ours; a broken file is removed.

    Only here may it be: no process runs on the data, and nobody else can be starting one.
    """
    try:
        first_line = pid_file.read_bytes().split(b"\n")[0].strip()
    except FileNotFoundError:
        return None
    if first_line.isdigit() and int(first_line) > 0:
        return first_line.decode()
    pid_file.unlink()
    return None


def _settings(place: Place, options: Mapping[str, str]) -> list[str]:
    settings = {
        "listen_addresses": "",
        "port": "5432",
        "unix_socket_directories": str(place.socket_folder),
        "unix_socket_permissions": "0700",
        "logging_collector": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        **options,
    }
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def _open_log(path: Path) -> IO[bytes]:
    too_long = path.exists() and path.stat().st_size > _LARGEST_LOG_BYTES
    output = path.open("wb" if too_long else "ab")
    path.chmod(0o600)
    return output


def log_length(place: Place) -> int:
    """How much the server has written so far."""
    return place.log.stat().st_size if place.log.exists() else 0


def read_log(place: Place, *, since: int) -> str:
    """What the server wrote from there on, as one line."""
    with place.log.open("rb") as file:
        file.seek(min(since, log_length(place)))
        return " | ".join(file.read().decode(errors="replace").split("\n")).strip(" |")
