"""Where yoyo's books are: which migrations have run.

They belong into `public`, beside what they speak of. A role with a search_path of its own may have
had them made elsewhere; there they are read as well, and the next migration takes them home.
"""

from collections.abc import Collection

import asyncpg

from wastewise_jobs.db.schema.files import MigrationFiles
from wastewise_jobs.errors import DatabaseUnusableError

HOME = "public"
_PLACES = """
SELECT quote_ident(n.nspname)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = '_yoyo_migration'
  AND c.relkind = 'r'
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
ORDER BY n.nspname <> 'public', n.nspname
"""
_TABLES = """
SELECT quote_ident(c.relname)
FROM pg_catalog.pg_class c
WHERE c.relnamespace = to_regnamespace($1)
  AND c.relname IN ('_yoyo_log', '_yoyo_migration', '_yoyo_version', 'yoyo_lock')
  AND to_regclass('public.' || c.relname::text) IS NULL
"""
_IS_HERE = "SELECT to_regclass('public.schema_info') IS NOT NULL"
_IS_THERE = "SELECT to_regclass($1 || '.schema_info') IS NOT NULL"


async def applied(
    connection: "asyncpg.Connection[asyncpg.Record]", files: MigrationFiles
) -> set[str]:
    """The migrations that have run here."""
    _, names = await _found(connection, files.numbered)
    return names


async def take_home(
    connection: "asyncpg.Connection[asyncpg.Record]", files: MigrationFiles
) -> None:
    """Move the books into `public`, unless they are there.

    Raises DatabaseUnusableError where our tables are elsewhere too: half of them would be missed.
    """
    place, names = await _found(connection, files.numbered)
    if place == HOME or not names:
        return
    async with connection.transaction():
        for row in await connection.fetch(_TABLES, place):
            await connection.execute(f"ALTER TABLE {place}.{row[0]} SET SCHEMA {HOME}")


async def _found(
    connection: "asyncpg.Connection[asyncpg.Record]", ours: Collection[str]
) -> tuple[str, set[str]]:
    """The schema of the books that know any of our migrations, and which they know."""
    here = await connection.fetchval(_IS_HERE)
    for (place,) in await connection.fetch(_PLACES):
        # The name is quoted by the server.
        rows = await connection.fetch(f"SELECT migration_id FROM {place}._yoyo_migration")  # noqa: S608
        names = {row[0] for row in rows}
        if not names.intersection(ours):
            continue
        if here or place == HOME:
            return place, names
        if await connection.fetchval(_IS_THERE, place):
            raise DatabaseUnusableError(
                f"the tables of wastewise-jobs are in schema {place}, where the search_path of a "
                "role has put them: move them with ALTER TABLE ... SET SCHEMA public"
            )
    return HOME, set()
