"""Why a database cannot be used at its address, told without the password and with the remedy."""

import asyncio
import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import asyncpg

from wastewise_jobs.db import trouble
from wastewise_jobs.db.connect import connect
from wastewise_jobs.db.pool import Connection
from wastewise_jobs.dsn import read_dsn
from wastewise_jobs.errors import ConfigurationError, DatabaseUnusableError

POOLER_REMEDY = "set DATABASE_DIRECT_URL to the server itself"
_HEARING_SECONDS = 3.0
_BACKEND = "SELECT pg_catalog.pg_backend_pid()"


@contextmanager
def reachable(dsn: str, *, variable: str = "DATABASE_URL") -> Iterator[None]:
    """What connecting to `dsn` raises, as an error that names the variable it came from.

    A ConfigurationError for an address that means nothing, a DatabaseUnusableError for one where
    no usable server answers.
    """
    try:
        yield
    except asyncpg.TargetServerAttributeNotMatched as error:
        raise DatabaseUnusableError(
            f"{variable}: the {_place(dsn)} is a standby or read-only: point it at the primary"
        ) from error
    except (OSError, asyncpg.PostgresError) as error:
        if speaks_of_pooler(error):
            raise _through_pooler(dsn, variable, str(error)) from error
        raise DatabaseUnusableError(
            f"{variable}: the {_place(dsn)} cannot be reached: {_reason(error)}"
        ) from error
    except (ValueError, asyncpg.InterfaceError) as error:
        raise ConfigurationError(variable, f"cannot be used: {error}") from error


def speaks_of_pooler(error: BaseException) -> bool:
    """Whether only a pooler between us and the server says such a thing."""
    refused = "unsupported startup parameter" in str(error)
    return refused or trouble.sqlstate(error).startswith(trouble.POOLED)


async def require_session(
    connection: Connection, dsn: str, *, variable: str = "DATABASE_URL"
) -> None:
    """Raise DatabaseUnusableError where a pooler hands each transaction to another session."""
    # A pooler makes up the process number that it tells its clients.
    if await connection.fetchval(_BACKEND) == connection.get_server_pid():
        return
    # It takes another client to tell: alone, we are given the same session again and again.
    other = await connect(dsn, statement_cache_size=0, command_timeout=_HEARING_SECONDS)
    try:
        if not await hears(connection, other):
            said = "LISTEN hears nothing, prepared statements get lost"
            raise _through_pooler(dsn, variable, said)
    finally:
        other.terminate()


async def hears(listener: Connection, speaker: Connection) -> bool:
    """Whether what one session notifies of reaches the other that listens."""
    topic = f"wastewise_check_{secrets.token_hex(8)}"
    heard = asyncio.Event()

    def hear(*_: object) -> None:
        heard.set()

    await listener.add_listener(topic, hear)
    try:
        await speaker.execute(f"NOTIFY {topic}")
        with suppress(TimeoutError):
            async with asyncio.timeout(_HEARING_SECONDS):
                await heard.wait()
    finally:
        await listener.remove_listener(topic, hear)
    return heard.is_set()


def _through_pooler(dsn: str, variable: str, said: str) -> DatabaseUnusableError:
    remedy = POOLER_REMEDY if variable == "DATABASE_URL" else "point it at the server itself"
    return DatabaseUnusableError(
        f"{variable}: the {_place(dsn)} is behind a pooler such as PgBouncer ({said}): {remedy}"
    )


def _place(dsn: str) -> str:
    return read_dsn(dsn).place


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer came in time"
    number = getattr(error, "errno", None) or 0
    return os.strerror(number).lower() if number in errno.errorcode else str(error)
