"""No statement of ours means an operator that others made in `public`, which sessions look in."""

import re
from importlib import import_module
from pathlib import Path

import asyncpg

from tests.conftest import connected
from wastewise_jobs.db.pool import Connection

ROOT = Path(__file__).parents[3]
_STATEMENT = re.compile(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\b")
# An operator for exactly these types comes before one of the catalogue's to which they are cast.
HOSTILE = """
DO $$
DECLARE
    _types text[] := ARRAY[
        'int4', 'int8', 'float8', 'numeric', 'text', 'varchar', 'timestamptz', 'timestamp',
        'interval', 'jsonb', 'uuid', 'name', 'text[]'];
    _left text;
    _right text;
    _name text;
BEGIN
    FOR _left, _right IN SELECT l, r FROM unnest(_types) AS l, unnest(_types) AS r LOOP
        EXECUTE format('CREATE FUNCTION public.theirs(%s, %s) RETURNS %1$s '
            'LANGUAGE sql AS ''SELECT $1''', _left, _right);
        EXECUTE format('CREATE FUNCTION public.theirs_too(%s, %s) RETURNS boolean '
            'LANGUAGE sql AS ''SELECT true''', _left, _right);
        FOREACH _name IN ARRAY ARRAY[
            '=', '<>', '<', '>', '<=', '>=', '&&', '@>', '~', '+', '-', '*', '/', '||', '->', '->>'
        ] LOOP
            IF to_regoperator(format('pg_catalog.%s(%s, %s)', _name, _left, _right)) IS NULL THEN
                EXECUTE format(
                    'CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.%s)',
                    _name, _left, _right,
                    CASE WHEN _name ~ '^([-+*/]|[|]{2}|->>?)$' THEN 'theirs' ELSE 'theirs_too' END
                );
            END IF;
        END LOOP;
    END LOOP;
END
$$
"""
_THEIRS = """
SELECT o.oid::regoperator::text
FROM pg_operator o
WHERE o.oid = ANY ($1::oid[])
  AND o.oprnamespace = 'public'::regnamespace
"""


def statements() -> dict[str, str]:
    """Those that are constants of a module, by name."""
    found = {}
    for path in sorted((ROOT / "wastewise_jobs").rglob("*.py")):
        if path.stem.startswith("__"):
            continue
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for constant, value in vars(import_module(name)).items():
            if isinstance(value, str) and _STATEMENT.match(value):
                found[f"{name}.{constant}"] = value
    return found


async def test_no_statement_means_an_operator_of_others(db: str) -> None:
    async with connected(db) as connection:
        await connection.execute(HOSTILE)
        trees: list[str] = []
        connection.add_log_listener(lambda _, message: trees.append(str(message.detail)))
        await connection.execute(
            "SET client_min_messages = log; SET debug_print_parse = on; "
            "SET debug_pretty_print = off"
        )
        taken, prepared = {}, 0
        for name, statement in statements().items():
            trees.clear()
            try:
                await connection.prepare(statement)
            except (asyncpg.PostgresSyntaxError, asyncpg.IndeterminateDatatypeError):
                # A part of one.
                continue
            except asyncpg.PostgresError as error:
                taken[name] = [str(error)]
                continue
            prepared += 1
            if names := await _theirs(connection, "".join(trees)):
                taken[name] = names
        assert taken == {}
        assert prepared > 100


async def _theirs(connection: Connection, tree: str) -> list[str]:
    numbers = {int(number) for number in re.findall(r":opno (\d+)", tree)}
    return [row[0] for row in await connection.fetch(_THEIRS, list(numbers))]
