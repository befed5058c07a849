"""Writes the migrated schema as one readable text, the same on every server version.

`python -m tests.database.schema.schema_dump` migrates a fresh database and writes schema.sql.
Functions are named with their signatures and settings; their bodies are in the post-apply files.
"""

import asyncio
from pathlib import Path

from tests.conftest import _embedded, connected, database
from wastewise_jobs.db.pool import Connection
from wastewise_jobs.db.schema.migrate import migrate

WRITTEN = Path(__file__).with_name("schema.sql")
TABLES = """
SELECT
    c.oid,
    c.relname AS name,
    coalesce(array_to_string(ARRAY(SELECT unnest(c.reloptions) ORDER BY 1), ', '), '') AS options,
    c.relrowsecurity AS row_security
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace
  AND c.relkind = 'r'
  AND c.relname !~ 'yoyo'
ORDER BY c.relname
"""
COLUMNS = """
SELECT format(
    '%s %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
    coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
)
FROM pg_attribute a
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = $1
  AND a.attnum > 0
  AND NOT a.attisdropped
ORDER BY a.attnum
"""
CONSTRAINTS = """
SELECT format('CONSTRAINT %s %s', conname, pg_get_constraintdef(oid))
FROM pg_constraint
WHERE conrelid = $1
  AND contype IN ('p', 'u', 'f', 'c')
ORDER BY array_position(ARRAY['p', 'u', 'f', 'c'], contype::text), conname
"""
INDEXES = """
SELECT pg_get_indexdef(i.indexrelid)
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1
  AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid)
ORDER BY c.relname
"""
# A hash is of a secret of each database's own.
TRIGGERS = """
SELECT regexp_replace(pg_get_triggerdef(oid), '[0-9a-f]{64}', '<hash>')
FROM pg_trigger
WHERE tgrelid = $1
  AND NOT tgisinternal
ORDER BY tgname
"""
FUNCTIONS = """
SELECT format(
    E'FUNCTION %s(%s)\\n    RETURNS %s\\n    LANGUAGE %s%s%s', p.proname,
    pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), l.lanname,
    CASE WHEN p.prosecdef THEN ' SECURITY DEFINER' ELSE '' END,
    coalesce((
        SELECT string_agg(E'\\n    SET ' || s, '' ORDER BY n)
        FROM unnest(p.proconfig) WITH ORDINALITY AS c (s, n)
    ), '')
)
FROM pg_proc p
JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'public'::regnamespace
ORDER BY p.proname, pg_get_function_arguments(p.oid)
"""
HEAD = """\
-- The migrated schema, for people: `python -m tests.database.schema.schema_dump` writes it, a test
-- compares it. Nothing reads it to make a database.
"""


async def dump(connection: Connection) -> str:
    parts = [HEAD]
    for table in await connection.fetch(TABLES):
        parts.append(await _table(connection, table["oid"], table["name"], table["options"]))
        if table["row_security"]:
            parts.append(f"ALTER TABLE {table['name']} ENABLE ROW LEVEL SECURITY;\n")
        for query in (INDEXES, TRIGGERS):
            lines = [f"{row[0]};\n" for row in await connection.fetch(query, table["oid"])]
            parts += ["".join(lines)] if lines else []
    parts += [f"{row[0]};\n" for row in await connection.fetch(FUNCTIONS)]
    return "\n".join(parts)


async def _table(connection: Connection, oid: int, name: str, options: str) -> str:
    lines = [
        f"    {row[0]}"
        for query in (COLUMNS, CONSTRAINTS)
        for row in await connection.fetch(query, oid)
    ]
    end = f") WITH ({options});\n" if options else ");\n"
    return f"CREATE TABLE {name} (\n" + ",\n".join(lines) + "\n" + end


async def migrated() -> str:
    async with _embedded() as server, database(server) as dsn:
        await migrate(dsn)
        async with connected(dsn) as connection:
            return await dump(connection)


if __name__ == "__main__":
    WRITTEN.write_text(asyncio.run(migrated()))
