"""Bringing a database to the schema of this release, and refusing one that does not fit.

Numbered files run once each; the `post-apply` files (functions) run whenever their text changed,
all in one transaction with the stamp in `schema_info`. Whoever migrates holds a lock that the
server drops with its session: several processes may start at once, and a killed one blocks nobody.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg

from wastewise_jobs.db.address import reachable, require_session
from wastewise_jobs.db.connect import connect_and_tell
from wastewise_jobs.db.pool import Connection
from wastewise_jobs.db.schema.books import applied, take_home
from wastewise_jobs.db.schema.files import MigrationFiles, migrations_dir, read_files
from wastewise_jobs.db.to_the_end import to_the_end
from wastewise_jobs.dsn import Dsn
from wastewise_jobs.errors import DatabaseUnusableError, SchemaMismatchError
from wastewise_jobs.logs import get_logger

__all__ = [
    "MAKE_UTF8",
    "REVOKE_CREATE",
    "RISK_OF_CREATE",
    "SCHEMA_VERSION",
    "check_schema",
    "lacks_utf8",
    "migrate",
    "migrations_dir",
    "plan",
    "public_may_create",
    "rollback",
    "tables_to_lose",
]

log = get_logger(__name__)

# Raised with every release that changes a file in migrations/, a function included: an older
# release must not put its functions back over a newer one's.
SCHEMA_VERSION = 1
# The oldest SCHEMA_VERSION whose processes may go on working with this schema.
OLDEST_COMPATIBLE = 1

LOCK_WAIT = timedelta(minutes=2)
_LOCK_KEY = 0x7761_7374_6577_6A73
_LOCK_POLL_SECONDS = 0.2

# Written anew by whoever migrates, registers or starts.
_FILLED_AGAIN = frozenset({"schema_info", "job_types", "job_workers"})
_KEPT_WHEN_ADOPTED = frozenset({"projects", "analysis_jobs", "project_files"})
_ADOPTED = "SELECT to_jsonb(s) ->> 'adopted'::text = 'true' FROM public.schema_info s"
_MAY_CREATE = """
SELECT
    quote_ident(current_user) AS role,
    has_schema_privilege('public', 'CREATE') AND has_schema_privilege('public', 'USAGE') AS may
"""
# Whatever a role's search_path is, the numbered files name tables without a schema.
_OUR_SEARCH_PATH = "SET search_path = public"
_PUBLIC_MAY_CREATE = "SELECT has_schema_privilege('public', 'public', 'CREATE')"
RISK_OF_CREATE = "every role of this database may create functions and tables in schema public"
MAKE_UTF8 = "make one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
REVOKE_CREATE = "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
_SCHEMA_INFO = "SELECT schema_version, min_compatible, post_apply_hash FROM public.schema_info"


async def migrate(
    dsn: str,
    *,
    folder: Path | None = None,
    lock_wait: timedelta = LOCK_WAIT,
    variable: str = "DATABASE_URL",
) -> list[str]:
    """Apply what is missing; returns the names, so an empty list says that nothing was to do.

    Safe to call from several processes at once. Raises DatabaseUnusableError, naming the file if
    one failed; what was applied before it stays. `variable` is where `dsn` was said.
    """
    files = read_files(folder or migrations_dir())
    if not await plan(dsn, folder=folder, variable=variable):
        return []
    async with _alone(dsn, lock_wait, variable) as (connection, place):
        pending = await _pending(connection, files)
        if pending:
            _require_utf8(connection, variable)
            await _require_create(connection, variable)
            await take_home(connection, files)
            await to_the_end(asyncio.to_thread(_apply, place, files))
        return pending


async def plan(
    dsn: str, *, folder: Path | None = None, variable: str = "DATABASE_URL"
) -> list[str]:
    """Return the names that migrate() would apply now, in order; changes nothing."""
    files = read_files(folder or migrations_dir())
    async with _connected(dsn, variable) as (connection, _):
        if await public_may_create(connection):
            log.warning("public_may_create", risk=RISK_OF_CREATE, remedy=REVOKE_CREATE)
        return await _pending(connection, files)


async def rollback(
    dsn: str,
    *,
    count: int = 1,
    folder: Path | None = None,
    lock_wait: timedelta = LOCK_WAIT,
    variable: str = "DATABASE_URL",
) -> list[str]:
    """Undo the last `count` numbered migrations, newest first; returns their names.

    Afterwards the schema counts as too old, until migrate() has run.
    """
    files = read_files(folder or migrations_dir())
    async with _alone(dsn, lock_wait, variable) as (connection, place):
        names = await _newest(connection, files, count)
        for name in names:
            if not (files.folder / f"{name}.rollback.sql").exists():
                raise DatabaseUnusableError(f"{name}.sql has no {name}.rollback.sql: not undone")
        if names:
            await take_home(connection, files)
            await to_the_end(asyncio.to_thread(_undo, place, files, names))
        return names


async def tables_to_lose(
    dsn: str, *, count: int = 1, folder: Path | None = None, variable: str = "DATABASE_URL"
) -> list[str]:
    """The tables with rows that rollback() would drop, but for those that fill themselves again."""
    files = read_files(folder or migrations_dir())
    async with _connected(dsn, variable) as (connection, _):
        dropped = {
            table
            for name in await _newest(connection, files, count)
            for table in files.dropped_by(f"{name}.rollback")
        } - _FILLED_AGAIN
        if await _is_adopted(connection):
            dropped -= _KEPT_WHEN_ADOPTED
        return [table for table in sorted(dropped) if await _holds_rows(connection, table)]


async def check_schema(connection: Connection) -> None:
    """Raise SchemaMismatchError, saying what to run, unless this release can work here."""
    info = await _schema_info(connection)
    if info is None:
        raise SchemaMismatchError(
            "the database has no schema of wastewise-jobs yet (or this role may not see it): "
            "run `wastewise-jobs migrate`"
        )
    _refuse_newer(info)
    if info["schema_version"] < SCHEMA_VERSION:
        raise SchemaMismatchError(
            f"the database has schema version {info['schema_version']}, this release needs "
            f"{SCHEMA_VERSION}: run `wastewise-jobs migrate`"
        )


def lacks_utf8(connection: Connection) -> str:
    """What is wrong with a database that cannot hold every text; empty where it can."""
    encoding = connection.get_settings().server_encoding
    return "" if encoding == "UTF8" else f"its encoding is {encoding}, which cannot hold every text"


def _require_utf8(connection: "asyncpg.Connection[asyncpg.Record]", variable: str) -> None:
    if lack := lacks_utf8(connection):
        raise DatabaseUnusableError(f"{variable}: the database cannot be used, {lack}: {MAKE_UTF8}")


async def _require_create(connection: "asyncpg.Connection[asyncpg.Record]", variable: str) -> None:
    role, may = await connection.fetchrow(_MAY_CREATE) or (None, False)
    if not may:
        raise DatabaseUnusableError(
            f"{variable}: its role {role} may not create tables in schema public: migrate as its "
            f"owner, or as a superuser GRANT CREATE, USAGE ON SCHEMA public TO {role}"
        )


async def _pending(
    connection: "asyncpg.Connection[asyncpg.Record]", files: MigrationFiles
) -> list[str]:
    info = await _schema_info(connection)
    if info is not None:
        _refuse_newer(info)
        if info["schema_version"] > SCHEMA_VERSION:
            return []
    done = await applied(connection, files)
    numbered = [name for name in files.numbered if name not in done]
    if not numbered and info is not None and tuple(info) == _stamp(files):
        return []
    return [*numbered, *files.post_apply]


async def _newest(
    connection: "asyncpg.Connection[asyncpg.Record]", files: MigrationFiles, count: int
) -> list[str]:
    info = await _schema_info(connection)
    if info is not None and info["schema_version"] > SCHEMA_VERSION:
        raise SchemaMismatchError(
            f"the database has schema version {info['schema_version']}, this release knows "
            f"{SCHEMA_VERSION}: roll back with the wastewise-jobs that migrated it"
        )
    done = await applied(connection, files)
    return [name for name in reversed(files.numbered) if name in done][:count]


async def _is_adopted(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    if await _schema_info(connection) is None:
        return False
    return bool(await connection.fetchval(_ADOPTED))


async def _holds_rows(connection: "asyncpg.Connection[asyncpg.Record]", table: str) -> bool:
    if await connection.fetchval("SELECT to_regclass($1)", table) is None:
        return False
    # The name comes from a migration of ours.
    return bool(await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})"))  # noqa: S608


async def public_may_create(connection: Connection) -> bool:
    """Whether everybody may make functions and tables beside ours."""
    return bool(await connection.fetchval(_PUBLIC_MAY_CREATE))


async def _schema_info(connection: Connection) -> asyncpg.Record | None:
    if await connection.fetchval("SELECT to_regclass('public.schema_info')") is None:
        return None
    return await connection.fetchrow(_SCHEMA_INFO)


def _refuse_newer(info: asyncpg.Record) -> None:
    if info["min_compatible"] > SCHEMA_VERSION:
        raise SchemaMismatchError(
            f"the database needs a release that knows schema version {info['min_compatible']}, "
            f"this one knows {SCHEMA_VERSION}: install a newer wastewise-jobs"
        )


@asynccontextmanager
async def _connected(
    dsn: str, variable: str
) -> "AsyncIterator[tuple[asyncpg.Connection[asyncpg.Record], Dsn]]":
    """A connection, and the address of the one host that it leads to."""
    with reachable(dsn, variable=variable):
        # Of several hosts only the primary can be migrated, whatever the address says.
        connection, place = await connect_and_tell(dsn, timeout=30, target="read-write")
    try:
        with reachable(dsn, variable=variable):
            await require_session(connection, dsn, variable=variable)
        await connection.execute(_OUR_SEARCH_PATH)
        yield connection, place
    finally:
        await connection.close(timeout=5)


@asynccontextmanager
async def _alone(
    dsn: str, lock_wait: timedelta, variable: str
) -> "AsyncIterator[tuple[asyncpg.Connection[asyncpg.Record], Dsn]]":
    """Hold the right to migrate: a session lock, which the server drops with its session.

    Polled: a session waiting inside pg_advisory_lock() holds a snapshot that CREATE INDEX
    CONCURRENTLY waits for, and the two would wait for each other.
    """
    async with _connected(dsn, variable) as (connection, place):
        until = time.monotonic() + lock_wait.total_seconds()
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
            if time.monotonic() > until:
                raise DatabaseUnusableError(
                    "another process has been migrating this database for more than "
                    f"{lock_wait.total_seconds():.0f} s: wait for it, or end its session "
                    "(pg_locks, locktype advisory)"
                )
            await asyncio.sleep(_LOCK_POLL_SECONDS)
        yield connection, place


def _stamp(files: MigrationFiles) -> tuple[int, int, str]:
    return SCHEMA_VERSION, OLDEST_COMPATIBLE, files.post_apply_hash


def _apply(place: Dsn, files: MigrationFiles) -> None:
    from wastewise_jobs.db.schema import yoyo as migrate_yoyo

    migrate_yoyo.apply(place, files, _stamp(files))


def _undo(place: Dsn, files: MigrationFiles, names: Sequence[str]) -> None:
    from wastewise_jobs.db.schema import yoyo as migrate_yoyo

    migrate_yoyo.undo(place, files, names, (0, OLDEST_COMPATIBLE, None))
