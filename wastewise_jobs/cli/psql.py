"""`psql`: PostgreSQL's own client on our database, which may be the embedded one."""

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import typer

if TYPE_CHECKING:
    from wastewise_jobs.settings import Settings


def psql(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="For psql itself, e.g. -c 'SELECT 1' or -f FILE.", metavar="ARG"),
    ] = None,
) -> None:
    """Open psql on DATABASE_URL, or on the embedded server."""
    from wastewise_jobs.cli.running import run
    from wastewise_jobs.cli.start import start
    from wastewise_jobs.service import database

    settings = start(quiet=True)
    program = _program(settings)

    async def opened() -> int:
        async with database(settings) as addresses:
            return await _ended(program, addresses.direct, arguments or [])

    raise typer.Exit(run(opened()))


def _program(settings: "Settings") -> str:
    """An installed psql, which can edit lines; else the one that came with the embedded server."""
    from wastewise_jobs.db.embedded_binaries import find_binaries
    from wastewise_jobs.errors import ConfigurationError

    given = settings.wastewise_pg_bin
    if given is None and (installed := shutil.which("psql")):
        return installed
    bundled = Path(given or find_binaries(), "psql")
    if not bundled.exists():
        raise ConfigurationError(
            "PATH", f"has no psql, and neither has {bundled.parent}; install PostgreSQL's client"
        )
    return str(bundled)


async def _ended(program: str, dsn: str, arguments: list[str]) -> int:
    """Run psql on our terminal; its exit code."""
    # Ctrl-C ends the statement that psql runs, not psql and not us.
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
    address, password = without_password(dsn)
    process = await asyncio.create_subprocess_exec(
        program, address, *arguments, env={**os.environ, **password}
    )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def without_password(dsn: str) -> tuple[str, dict[str, str]]:
    """The address as anybody may see it among the processes, and the password for the environment.

    Written once more as a whole: libpq takes what asyncpg takes.
    """
    parts = urlsplit(dsn)
    who, _, hosts = parts.netloc.rpartition("@")
    user, _, password = who.partition(":")
    words = dict(parse_qsl(parts.query, keep_blank_values=True))
    password = words.pop("password", "") or unquote(password)
    netloc = f"{user}@{hosts}" if user else hosts
    query = urlencode(words, quote_via=quote)
    address = urlunsplit((parts.scheme, netloc, parts.path, query, ""))
    return address, {"PGPASSWORD": password} if password else {}
