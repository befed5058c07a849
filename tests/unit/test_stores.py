"""Only stores speak to PostgreSQL: whoever else needs something of it asks one of them."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import wastewise_jobs

# The one list of the modules that hold SQL or hand it to a connection.
STORES = (
    "alerts.sql",
    "alerts.store",
    "db.*",
    "jobs.sql",
    "jobs.store",
    "jobs.types",
    "maintenance.checks.*",
    "maintenance.chores",
    "maintenance.store",
    "monitoring.metrics",
    "monitoring.prometheus",
    "monitoring.reading",
    "monitoring.trends",
    "monitoring.unserved",
    "monitoring.workers",
    "projects.analysis_store",
    "projects.sql",
    "projects.store",
    "web.access.keys",
    "workers.store",
)
# They know the driver's errors by name and nothing else of it: each decides what one of them means.
JUDGES = (
    "cli.checks",
    "web.api.batcher",
    "web.api.writes",
    "workers.progress",
    "workers.settle",
    "workers.transaction",
)
# The driver's UUIDs are made faster than the standard library's.
OF_THE_DRIVER = {"jobs.ids": {"asyncpg.pgproto.pgproto"}}
DRIVERS = {"asyncpg", "psycopg", "psycopg_pool"}
SQL = re.compile(
    r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH \w+ AS|TRUNCATE|VALUES|NOTIFY|SHOW|"
    r"SET|RESET|CREATE|DROP|ALTER|LOCK|COPY|CALL)\s+[\w(]"
)
SPEAKS = {"execute", "executemany", "fetch", "fetchrow", "fetchval", "fetchmany"}

ROOT = Path(wastewise_jobs.__file__).parent


@cache
def modules() -> dict[str, ast.Module]:
    return {name_of(path): ast.parse(path.read_text()) for path in ROOT.rglob("*.py")}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def listed(module: str, names: tuple[str, ...]) -> bool:
    return any(fnmatch(module, name) for name in names)


def speech(tree: ast.AST) -> Iterator[str]:
    """SQL texts that are not part of a docstring, and calls that hand one to a connection."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in said and SQL.match(text):
                yield f"line {node.lineno}: {text.strip()[:60]!r}"
            case ast.Call(func=ast.Attribute(attr=method)) if method in SPEAKS:
                yield f"line {node.lineno}: .{method}()"
            case _:
                pass


def drivers(tree: ast.AST) -> Iterator[str]:
    """What is imported of a driver."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name.split(".")[0] in DRIVERS)
            case ast.ImportFrom(module=str(module), level=0) if module.split(".")[0] in DRIVERS:
                yield module
            case _:
                pass


def words_of_the_driver(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="asyncpg"), attr=word):
                yield word
            case ast.Constant(value=str(text)):
                # A quoted annotation.
                yield from re.findall(r"^asyncpg\.(\w+)", text)
            case _:
                pass


def test_only_stores_hold_sql_or_hand_it_to_a_connection() -> None:
    found = {
        name: list(speech(tree)) for name, tree in modules().items() if not listed(name, STORES)
    }
    assert {name: said for name, said in found.items() if said} == {}


def test_only_stores_and_judges_of_its_errors_import_a_driver() -> None:
    found = {
        name: imported - OF_THE_DRIVER.get(name, set())
        for name, tree in modules().items()
        if not listed(name, STORES + JUDGES) and (imported := set(drivers(tree)))
    }
    assert {name: imported for name, imported in found.items() if imported} == {}


def test_a_judge_uses_nothing_of_the_driver_but_its_errors() -> None:
    found = {
        name: {word for word in words_of_the_driver(tree) if not word.endswith("Error")}
        for name, tree in modules().items()
        if listed(name, JUDGES)
    }
    assert {name: words for name, words in found.items() if words} == {}


def test_the_lists_name_nobody_who_is_silent() -> None:
    trees = modules()
    speaking = {name for name, tree in trees.items() if any(speech(tree))}
    knowing = {name for name, tree in trees.items() if any(drivers(tree))}
    silent = [store for store in STORES if not any(fnmatch(name, store) for name in speaking)]
    assert silent + [judge for judge in JUDGES if judge not in knowing] == []


def test_sql_and_calls_are_seen_where_they_stand() -> None:
    texts = ["SELECT 1", "\nWITH a AS (SELECT 1) SELECT 2", 'DROP DATABASE "x"', "SET ROLE x"]
    for text in texts:
        assert list(speech(ast.parse(f"X = {text!r}"))), text
    assert list(speech(ast.parse("async def a(c):\n    await c.fetchval(b)")))
    assert not list(speech(ast.parse('def a():\n    """SELECT 1 is an example."""')))
