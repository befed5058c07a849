"""Running migrations with yoyo and psycopg. All blocking; both are slow to import, so call it late.

yoyo reads the files and keeps the books, but its steps run in our transactions: killed between a
migration and its entry, yoyo alone would apply the migration again.
"""

import glob
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import psycopg
from yoyo import read_migrations
from yoyo.backends.base import DatabaseBackend
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.exceptions import BadMigration
from yoyo.migrations import Migration, MigrationList, default_migration_table

from wastewise_jobs.db.schema.files import MigrationFiles
from wastewise_jobs.dsn import Dsn
from wastewise_jobs.errors import DatabaseUnusableError

_CONNECT_SECONDS = 10

# schema_version, min_compatible, post_apply_hash
Stamp = tuple[int, int, str | None]
_STAMP = """
    UPDATE public.schema_info
       SET schema_version = %s, min_compatible = %s, post_apply_hash = %s, updated_at = now()
"""


def apply(place: Dsn, files: MigrationFiles, stamp: Stamp) -> None:
    """Run the numbered migrations that are missing, then the functions and the stamp together."""
    with _yoyo(place) as backend:
        for migration in backend.to_apply(_migrations(files)):
            with _named(migration.id):
                _apply_one(backend, migration)
        with backend.transaction():
            _run_post_apply(backend, files)
            with _named("schema_info"):
                backend.cursor().execute(_STAMP, stamp)


def _apply_one(backend: DatabaseBackend, migration: Migration) -> None:
    migration.load()
    if migration.use_transactions:
        with backend.transaction():
            migration.process_steps(backend, "apply")
            backend.mark_one(migration, log=False)
    else:
        migration.process_steps(backend, "apply")
        with backend.transaction():
            backend.mark_one(migration, log=False)


def _run_post_apply(backend: DatabaseBackend, files: MigrationFiles) -> None:
    """Each file goes to the server whole, so that no splitter can misread a function's body.

    They name all that is ours with its schema: what others made in `public` is not looked at.
    """
    backend.cursor().execute("SET LOCAL search_path = pg_catalog, pg_temp")
    for name in files.post_apply:
        text = files.text(name)
        with _named(name, text):
            backend.cursor().execute(text.encode())


def undo(place: Dsn, files: MigrationFiles, names: Sequence[str], stamp: Stamp) -> None:
    """Run the rollback files of these migrations, newest first, and put the stamp."""
    with _yoyo(place) as backend:
        for migration in backend.to_rollback(_migrations(files)):
            if migration.id in names:
                with _named(f"{migration.id}.rollback"), backend.transaction():
                    migration.process_steps(backend, "rollback")
                    backend.unmark_one(migration, log=False)
        with backend.transaction():
            (there,) = backend.execute("SELECT to_regclass('public.schema_info')").fetchone()
            if there is not None:
                backend.cursor().execute(_STAMP, stamp)


def _migrations(files: MigrationFiles) -> MigrationList:
    return read_migrations(glob.escape(str(files.folder)))


@contextmanager
def _yoyo(place: Dsn) -> Iterator[DatabaseBackend]:
    """A backend of yoyo on one connection, under its own lock too, for people who run `yoyo`."""
    # In libpq's words, not in yoyo's own: those cannot say a unix socket. `schema` is yoyo's word
    # for the search_path, of all its connections.
    limit = {"connect_timeout": str(_CONNECT_SECONDS)}
    words = limit | place.for_libpq() | {"target_session_attrs": "primary", "schema": "public"}
    name = words.pop("dbname", None)
    uri = DatabaseURI("postgresql+psycopg", None, None, None, None, name, words)
    try:
        backend = PostgresqlPsycopgBackend(uri, default_migration_table)
    except psycopg.Error as error:
        raise DatabaseUnusableError(f"the database cannot be reached: {error}") from error
    with closing(backend.connection):
        backend.create_lock_table()
        # We are alone, so a row in it was left by one that was killed.
        backend.break_lock()
        with backend.lock():
            backend.ensure_internal_schema_updated()
            yield backend


@contextmanager
def _named(name: str, text: str = "") -> Iterator[None]:
    """Turn a database error into ours, which names the file and, if known, the line."""
    try:
        yield
    except psycopg.Error as error:
        raise DatabaseUnusableError(
            f"migration {name}.sql failed{_line(error, text)}: {str(error).strip()}"
        ) from error
    except BadMigration as error:
        raise DatabaseUnusableError(f"migration {name}.sql cannot be read: {error}") from error


def _line(error: psycopg.Error, text: str) -> str:
    position = error.diag.statement_position
    if not text or not position:
        return ""
    return f" at line {text.count(chr(10), 0, int(position)) + 1}"
