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
from asyncpg.connect_utils import SessionAttribute

from wastewise_jobs.db.migration_files import MigrationFiles, migrations_dir, read_files
from wastewise_jobs.db.to_the_end import to_the_end
from wastewise_jobs.errors import DatabaseUnusableError, SchemaMismatchError

__all__ = ["SCHEMA_VERSION", "check_schema", "migrate", "migrations_dir", "plan", "rollback"]

# Raised with every release that changes a file in migrations/, a function included: an older
# release must not put its functions back over a newer one's.
SCHEMA_VERSION = 1
# The oldest SCHEMA_VERSION whose processes may go on working with this schema.
OLDEST_COMPATIBLE = 1

LOCK_WAIT = timedelta(minutes=2)
_LOCK_KEY = 0x7761_7374_6577_6A73
_LOCK_POLL_SECONDS = 0.2
_TABLE_OF_APPLIED = "_yoyo_migration"

_SCHEMA_INFO = "SELECT schema_version, min_compatible, post_apply_hash FROM schema_info"


async def migrate(
    dsn: str, *, folder: Path | None = None, lock_wait: timedelta = LOCK_WAIT
) -> list[str]:
    """Apply what is missing; returns the names, so an empty list says that nothing was to do.

    Safe to call from several processes at once. Raises DatabaseUnusableError, naming the file if
    one failed; what was applied before it stays.
    """
    files = read_files(folder or migrations_dir())
    if not await plan(dsn, folder=folder):
        return []
    async with _alone(dsn, lock_wait) as connection:
        pending = await _pending(connection, files)
        if pending:
            await to_the_end(asyncio.to_thread(_apply, dsn, files))
        return pending


async def plan(dsn: str, *, folder: Path | None = None) -> list[str]:
    """Return the names that migrate() would apply now, in order; changes nothing."""
    files = read_files(folder or migrations_dir())
    async with _connected(dsn) as connection:
        return await _pending(connection, files)


async def rollback(
    dsn: str, *, count: int = 1, folder: Path | None = None, lock_wait: timedelta = LOCK_WAIT
) -> list[str]:
    """Undo the last `count` numbered migrations, newest first; returns their names.

    Afterwards the schema counts as too old, until migrate() has run.
    """
    files = read_files(folder or migrations_dir())
    async with _alone(dsn, lock_wait) as connection:
        applied = await _applied(connection)
        names = [name for name in reversed(files.numbered) if name in applied][:count]
        for name in names:
            if not (files.folder / f"{name}.rollback.sql").exists():
                raise DatabaseUnusableError(f"{name}.sql has no {name}.rollback.sql: not undone")
        if names:
            await to_the_end(asyncio.to_thread(_undo, dsn, files, names))
        return names


async def check_schema(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
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


async def _pending(
    connection: "asyncpg.Connection[asyncpg.Record]", files: MigrationFiles
) -> list[str]:
    info = await _schema_info(connection)
    if info is not None:
        _refuse_newer(info)
        if info["schema_version"] > SCHEMA_VERSION:
            return []
    applied = await _applied(connection)
    numbered = [name for name in files.numbered if name not in applied]
    if not numbered and info is not None and tuple(info) == _stamp(files):
        return []
    return [*numbered, *files.post_apply]


async def _applied(connection: "asyncpg.Connection[asyncpg.Record]") -> set[str]:
    if await connection.fetchval("SELECT to_regclass($1)", _TABLE_OF_APPLIED) is None:
        return set()
    rows = await connection.fetch("SELECT migration_id FROM _yoyo_migration")
    return {row["migration_id"] for row in rows}


async def _schema_info(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> asyncpg.Record | None:
    if await connection.fetchval("SELECT to_regclass('schema_info')") is None:
        return None
    return await connection.fetchrow(_SCHEMA_INFO)


def _refuse_newer(info: asyncpg.Record) -> None:
    if info["min_compatible"] > SCHEMA_VERSION:
        raise SchemaMismatchError(
            f"the database needs a release that knows schema version {info['min_compatible']}, "
            f"this one knows {SCHEMA_VERSION}: install a newer wastewise-jobs"
        )


@asynccontextmanager
async def _connected(dsn: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    try:
        # Of several hosts only the primary can be migrated, whatever the address says.
        connection = await asyncpg.connect(
            dsn, timeout=30, target_session_attrs=SessionAttribute.primary
        )
    except asyncpg.TargetServerAttributeNotMatched as error:
        raise DatabaseUnusableError(
            "the database is a standby, and only a primary can be migrated"
        ) from error
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnusableError(f"the database cannot be reached: {error}") from error
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


@asynccontextmanager
async def _alone(
    dsn: str, lock_wait: timedelta
) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """Hold the right to migrate: a session lock, which the server drops with its session.

    Polled: a session waiting inside pg_advisory_lock() holds a snapshot that CREATE INDEX
    CONCURRENTLY waits for, and the two would wait for each other.
    """
    async with _connected(dsn) as connection:
        until = time.monotonic() + lock_wait.total_seconds()
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
            if time.monotonic() > until:
                raise DatabaseUnusableError(
                    "another process has been migrating this database for more than "
                    f"{lock_wait.total_seconds():.0f} s: wait for it, or end its session "
                    "(pg_locks, locktype advisory)"
                )
            await asyncio.sleep(_LOCK_POLL_SECONDS)
        yield connection


def _stamp(files: MigrationFiles) -> tuple[int, int, str]:
    return SCHEMA_VERSION, OLDEST_COMPATIBLE, files.post_apply_hash


def _apply(dsn: str, files: MigrationFiles) -> None:
    from wastewise_jobs.db import migrate_yoyo

    migrate_yoyo.apply(dsn, files, _stamp(files))


def _undo(dsn: str, files: MigrationFiles, names: Sequence[str]) -> None:
    from wastewise_jobs.db import migrate_yoyo

    migrate_yoyo.undo(dsn, files, names, (0, OLDEST_COMPATIBLE, None))
