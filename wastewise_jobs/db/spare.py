"""A database of its own on a server, for as long as somebody needs it."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from wastewise_jobs.db.address import reachable
from wastewise_jobs.db.connect import connect
from wastewise_jobs.dsn import read_dsn
from wastewise_jobs.errors import ConfigurationError


@asynccontextmanager
async def spare_database(dsn: str, *, prefix: str, variable: str) -> AsyncIterator[str]:
    """The address of an empty database of a random name on the server of `dsn`.

    It goes with the block, and whoever is still connected to it. Raises ConfigurationError where
    the role may make none.
    """
    name = f"{prefix}_{secrets.token_hex(6)}"
    with reachable(dsn, variable=variable):
        connection = await connect(dsn, timeout=10, command_timeout=60)
    try:
        await _create(connection, name)
        try:
            yield read_dsn(dsn).of_database(name)
        finally:
            await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await connection.close(timeout=5)


async def _create(connection: "asyncpg.Connection[asyncpg.Record]", name: str) -> None:
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    except asyncpg.InsufficientPrivilegeError:
        raise ConfigurationError(
            "DATABASE_URL",
            "its role may not create databases, and nothing is measured in a database that "
            "is in use; unset it to measure the embedded server",
        ) from None
