"""`psql`: PostgreSQL's own client on our database, which may be the embedded one."""

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from wastewise_jobs.service.database import database

    settings = start(quiet=True)
    program = _program(settings)

    async def opened() -> int:
        async with database(settings) as addresses:
            return await _ended(program, addresses.direct, arguments or [])

    raise typer.Exit(run(opened()))


def _program(settings: "Settings") -> str:
    """An installed psql, which can edit lines; else the one that came with the embedded server."""
    from wastewise_jobs.db.embedded.binaries import find_binaries
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
    """The address as anybody may see it among the processes, and the rest for its environment."""
    from wastewise_jobs.db.connect import HOST_SECONDS
    from wastewise_jobs.dsn import read_dsn

    address = read_dsn(dsn)
    # libpq counts it for each host, and has none by itself.
    several = {"connect_timeout": str(round(HOST_SECONDS))} if len(address.hosts) > 1 else {}
    return address.for_psql(**several)
