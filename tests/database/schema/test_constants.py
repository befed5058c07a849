"""Every SQL text of the package is prepared against the migrated schema, new ones included."""

import ast
import importlib
import itertools
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import asyncpg

import wastewise_jobs
from tests.support.factories import insert_plainly
from wastewise_jobs.db.pool import Connection

SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|TRUNCATE|VALUES|NOTIFY|LISTEN)\b")
CALLS = {"execute", "executemany", "fetch", "fetchrow", "fetchval", "cursor", "prepare"}


def constants() -> Iterator[tuple[str, str]]:
    for info in pkgutil.walk_packages(wastewise_jobs.__path__, "wastewise_jobs."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            # Private ones of a module that holds nothing else are parts of the public ones.
            part = info.name.endswith(".sql") and name.startswith("_")
            if isinstance(value, str) and SQL.match(value) and not part:
                yield f"{info.name}.{name}", value


def literals() -> Iterator[tuple[str, str]]:
    """Texts that stand in the call itself."""
    for path in Path(wastewise_jobs.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr=method),
                    args=[ast.Constant(value=str(text)), *_],
                ) if method in CALLS and SQL.match(text):
                    yield f"{path.name}:{node.lineno}", text
                case _:
                    pass


def in_postgres_words(text: str) -> str:
    """psycopg's placeholders as the server's own."""
    numbers = itertools.count(1)
    return re.sub(r"%s", lambda _: f"${next(numbers)}", text)


async def test_every_statement_of_the_package_fits_the_schema(connection: Connection) -> None:
    found = {**dict(constants()), **dict(literals())}
    assert {"wastewise_jobs.jobs.sql.CLAIM", "wastewise_jobs.projects.sql.LIST_ALL"} <= set(found)
    assert len(found) > 60
    wrong = {}
    for name, text in found.items():
        try:
            if ";" in text:
                await connection.execute(text)
            else:
                await connection.prepare(in_postgres_words(text))
        except asyncpg.PostgresError as error:
            wrong[name] = str(error)
    assert wrong == {}


async def test_a_statement_that_does_not_fit_would_be_seen(connection: Connection) -> None:
    await insert_plainly(connection)
    for text in ("SELECT nothing FROM analysis_jobs", "SELECT claim_jobs($1)"):
        try:
            await connection.prepare(text)
        except asyncpg.PostgresError:
            continue
        raise AssertionError(text)
