"""Migrations: applied once by many, undone, refused, explained when they fail."""

import asyncio
import os
import signal
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.conftest import connected
from tests.support.waiting import eventually, start_process
from wastewise_jobs.db.schema.migrate import (
    SCHEMA_VERSION,
    check_schema,
    migrate,
    migrations_dir,
    plan,
    rollback,
    tables_to_lose,
)
from wastewise_jobs.errors import DatabaseUnusableError, SchemaMismatchError

ROOT = Path(__file__).parents[3]

SCHEMA_INFO = """
-- A comment; with a semicolon.
CREATE TABLE schema_info (
    only_row boolean PRIMARY KEY DEFAULT true,
    schema_version integer NOT NULL DEFAULT 0,
    min_compatible integer NOT NULL DEFAULT 0,
    post_apply_hash text,
    updated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO schema_info DEFAULT VALUES;
"""
SMALL = {
    "0001_base.sql": SCHEMA_INFO,
    "0001_base.rollback.sql": "DROP TABLE schema_info;",
    "0002_fruit.sql": "CREATE TABLE fruit (name text);\nINSERT INTO fruit VALUES ('100% :apple');",
    "0002_fruit.rollback.sql": "DROP TABLE fruit;",
    "post-apply.1-functions.sql": """
        CREATE OR REPLACE FUNCTION double(_n int) RETURNS int LANGUAGE plpgsql AS $$
        DECLARE
            doubled int;  -- a semicolon; and 'quotes'
        BEGIN
            CASE WHEN _n > 0 THEN doubled := _n * 2; ELSE doubled := 0; END CASE;
            RETURN doubled;
        END;
        $$;
        CREATE OR REPLACE FUNCTION pears() RETURNS text LANGUAGE sql
        BEGIN ATOMIC
            SELECT '100% :pears'::text;
        END;
    """,
    "post-apply.2-more.sql": (
        "CREATE OR REPLACE FUNCTION four() RETURNS int LANGUAGE sql AS 'SELECT double(2)';"
    ),
}
ALL_OF_SMALL = ["0001_base", "0002_fruit", "post-apply.1-functions", "post-apply.2-more"]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    # A letter that a file pattern would take for its own.
    folder = tmp_path / "migrations[1]"
    folder.mkdir()
    return write(folder, SMALL)


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


async def value(dsn: str, query: str) -> object:
    async with connected(dsn) as connection:
        return await connection.fetchval(query)


async def test_everything_is_planned_applied_once_and_then_nothing_is_to_do(
    empty_db: str, small: Path
) -> None:
    assert await plan(empty_db, folder=small) == ALL_OF_SMALL
    assert await value(empty_db, "SELECT count(*) FROM pg_tables WHERE schemaname='public'") == 0
    assert await migrate(empty_db, folder=small) == ALL_OF_SMALL
    assert await value(empty_db, "SELECT name FROM fruit") == "100% :apple"
    assert await value(empty_db, "SELECT four() || pears()") == "4100% :pears"
    before = await value(empty_db, "SELECT updated_at FROM schema_info")
    assert await plan(empty_db, folder=small) == []
    assert await migrate(empty_db, folder=small) == []
    assert await value(empty_db, "SELECT updated_at FROM schema_info") == before


async def test_a_changed_function_is_replaced_though_no_numbered_migration_is_new(
    empty_db: str, small: Path
) -> None:
    await migrate(empty_db, folder=small)
    text = SMALL["post-apply.1-functions.sql"].replace("_n * 2", "_n * 3")
    write(small, {"post-apply.1-functions.sql": text})
    assert await migrate(empty_db, folder=small) == ALL_OF_SMALL[2:]
    assert await value(empty_db, "SELECT four()") == 6


async def test_a_new_migration_runs_alone_with_the_functions(empty_db: str, small: Path) -> None:
    await migrate(empty_db, folder=small)
    write(small, {"0003_nuts.sql": "CREATE TABLE nuts (name text)"})
    assert await migrate(empty_db, folder=small) == ["0003_nuts", *ALL_OF_SMALL[2:]]


async def test_several_that_start_at_once_apply_everything_once(empty_db: str, small: Path) -> None:
    results = await asyncio.gather(*(migrate(empty_db, folder=small) for _ in range(6)))
    assert sorted(results, key=len) == [[]] * 5 + [ALL_OF_SMALL]
    assert await value(empty_db, "SELECT count(*) FROM fruit") == 1


async def test_a_lock_row_left_by_a_killed_migrator_stops_nobody(
    empty_db: str, small: Path
) -> None:
    await migrate(empty_db, folder=small)
    async with connected(empty_db) as connection:
        await connection.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 1)")
    write(small, {"0003_nuts.sql": "CREATE TABLE nuts (name text)"})
    assert "0003_nuts" in await migrate(empty_db, folder=small)


async def test_a_migrator_killed_in_the_middle_leaves_nothing_half_done(
    empty_db: str, small: Path
) -> None:
    slow = "CREATE TABLE nuts (name text); SELECT pg_sleep(600);"
    write(small, {"0003_nuts.sql": slow})
    code = (
        "import asyncio, sys; from pathlib import Path;"
        "from wastewise_jobs.db.schema.migrate import *;"
        "asyncio.run(migrate(sys.argv[1], folder=Path(sys.argv[2])))"
    )
    sleeping = """
        SELECT pid FROM pg_stat_activity
         WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()
           AND datname = current_database()
    """
    async with start_process("-c", code, empty_db, str(small), cwd=ROOT) as process:
        pid = await eventually(lambda: value(empty_db, sleeping), within=30)
        process.send(signal.SIGKILL)
        await process.ended()
    # The server notices only when it writes to the client that is gone.
    await value(empty_db, f"SELECT pg_terminate_backend({pid})")
    write(small, {"0003_nuts.sql": "CREATE TABLE nuts (name text)"})
    assert await migrate(empty_db, folder=small) == ["0003_nuts", *ALL_OF_SMALL[2:]]


async def test_a_wait_for_another_migrator_has_an_end_and_says_so(
    empty_db: str, small: Path
) -> None:
    async with connected(empty_db) as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", 0x7761_7374_6577_6A73)
        with pytest.raises(DatabaseUnusableError, match="another process has been migrating"):
            await migrate(empty_db, folder=small, lock_wait=timedelta(seconds=0.3))
        waiting = asyncio.create_task(migrate(empty_db, folder=small))
        # Waiting for us, it must not hold a snapshot that an index built meanwhile waits for.
        await connection.execute("CREATE TABLE t (n int)")
        await connection.execute("CREATE INDEX CONCURRENTLY i ON t (n)", timeout=20)
        assert not waiting.done()
        await connection.execute("SELECT pg_advisory_unlock_all()")
        assert await waiting == ALL_OF_SMALL


async def test_a_failed_migration_is_named_and_undone_and_those_before_it_stay(
    empty_db: str, small: Path
) -> None:
    write(small, {"0003_nuts.sql": "CREATE TABLE nuts (name text); SELECT 1/0;"})
    with pytest.raises(DatabaseUnusableError, match=r"0003_nuts\.sql failed: division by zero"):
        await migrate(empty_db, folder=small)
    assert await value(empty_db, "SELECT to_regclass('nuts')") is None
    assert await plan(empty_db, folder=small) == ["0003_nuts", *ALL_OF_SMALL[2:]]


async def test_a_migration_and_the_entry_that_it_has_run_are_one_transaction(
    empty_db: str, small: Path
) -> None:
    await migrate(empty_db, folder=small)
    async with connected(empty_db) as connection:
        await connection.execute(
            "ALTER TABLE _yoyo_migration ADD CHECK (migration_id <> '0003_nuts') NOT VALID"
        )
    write(small, {"0003_nuts.sql": "CREATE TABLE nuts (name text)"})
    with pytest.raises(DatabaseUnusableError, match="0003_nuts"):
        await migrate(empty_db, folder=small)
    assert await value(empty_db, "SELECT to_regclass('nuts')") is None


async def test_a_failed_function_is_named_with_its_line_and_no_function_changes(
    empty_db: str, small: Path
) -> None:
    await migrate(empty_db, folder=small)
    write(
        small,
        {
            "post-apply.1-functions.sql": SMALL["post-apply.1-functions.sql"].replace("* 2", "* 9"),
            "post-apply.2-more.sql": "SELECT 1;\n\nSELEKT 2;",
        },
    )
    with pytest.raises(DatabaseUnusableError, match=r"2-more\.sql failed at line 3: syntax error"):
        await migrate(empty_db, folder=small)
    assert await value(empty_db, "SELECT four()") == 4


async def test_an_index_can_be_built_concurrently(empty_db: str, small: Path) -> None:
    text = "-- transactional: false\nCREATE INDEX CONCURRENTLY by_name ON fruit (name);"
    write(small, {"0003_index.sql": text})
    await migrate(empty_db, folder=small)
    assert await value(empty_db, "SELECT to_regclass('by_name') IS NOT NULL")
    assert await migrate(empty_db, folder=small) == []


async def test_the_newest_migrations_are_undone_and_can_be_applied_again(
    empty_db: str, small: Path
) -> None:
    await migrate(empty_db, folder=small)
    assert await rollback(empty_db, folder=small) == ["0002_fruit"]
    assert await value(empty_db, "SELECT to_regclass('fruit')") is None
    async with connected(empty_db) as connection:
        with pytest.raises(SchemaMismatchError, match="wastewise-jobs migrate"):
            await check_schema(connection)
    assert await migrate(empty_db, folder=small) == ["0002_fruit", *ALL_OF_SMALL[2:]]
    assert await rollback(empty_db, folder=small, count=9) == ["0002_fruit", "0001_base"]
    assert await rollback(empty_db, folder=small) == []
    assert await migrate(empty_db, folder=small) == ALL_OF_SMALL


async def test_the_tables_whose_rows_a_rollback_would_drop_are_known(
    empty_db: str, small: Path
) -> None:
    await migrate(empty_db, folder=small)
    assert await tables_to_lose(empty_db, folder=small) == ["fruit"]
    async with connected(empty_db) as connection:
        await connection.execute("DELETE FROM fruit")
    assert await tables_to_lose(empty_db, folder=small, count=9) == []


async def test_what_has_no_rollback_file_is_not_undone(empty_db: str, small: Path) -> None:
    write(small, {"0003_nuts.sql": "CREATE TABLE nuts (name text)"})
    await migrate(empty_db, folder=small)
    with pytest.raises(DatabaseUnusableError, match=r"no 0003_nuts\.rollback\.sql"):
        await rollback(empty_db, folder=small)
    assert await plan(empty_db, folder=small) == []


async def test_our_own_migrations_go_up_down_and_up_again(
    empty_db: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = await migrate(empty_db)
    numbered = [name for name in names if not name.startswith("post-apply")]
    async with connected(empty_db) as connection:
        await check_schema(connection)
    assert await tables_to_lose(empty_db, count=len(numbered)) == []
    assert await rollback(empty_db, count=len(numbered)) == numbered[::-1]
    assert await migrate(empty_db) == names
    # yoyo prints the rows of a bare SELECT, and stdout belongs to the command's own answer.
    assert capsys.readouterr().out == ""


async def test_a_fresh_database_is_refused_with_what_to_run(empty_db: str) -> None:
    async with connected(empty_db) as connection:
        with pytest.raises(SchemaMismatchError, match=r"no schema.*`wastewise-jobs migrate`"):
            await check_schema(connection)


async def test_a_schema_for_newer_releases_is_refused_and_not_touched(db: str) -> None:
    async with connected(db) as connection:
        newer = SCHEMA_VERSION + 1
        await connection.execute(
            "UPDATE schema_info SET schema_version = $1, min_compatible = $1", newer
        )
        for refused in (check_schema(connection), migrate(db), plan(db)):
            with pytest.raises(SchemaMismatchError, match="install a newer wastewise-jobs"):
                await refused
        for refused in (rollback(db), tables_to_lose(db)):
            with pytest.raises(SchemaMismatchError, match="that migrated it"):
                await refused
        assert await connection.fetchval("SELECT schema_version FROM schema_info") == newer


async def test_a_newer_schema_that_still_suits_us_is_used_and_keeps_its_functions(db: str) -> None:
    async with connected(db) as connection:
        await connection.execute(
            "UPDATE schema_info SET schema_version = $1, post_apply_hash = 'theirs'",
            SCHEMA_VERSION + 1,
        )
        await check_schema(connection)
        assert await migrate(db) == []
        with pytest.raises(SchemaMismatchError, match="that migrated it"):
            await rollback(db)
        assert await connection.fetchval("SELECT post_apply_hash FROM schema_info") == "theirs"


async def test_of_several_hosts_the_living_one_is_migrated(empty_db: str, small: Path) -> None:
    parts = urlsplit(empty_db)
    host = dict(word.split("=", 1) for word in parts.query.split("&") if "=" in word).get("host")
    if host:
        dsn = parts._replace(query=f"host=/nowhere,{host}&port=1,5432").geturl()
    else:
        login, _, address = parts.netloc.rpartition("@")
        dsn = parts._replace(netloc=f"{login}@127.0.0.1:1,{address}").geturl()
    assert await migrate(dsn + "&target_session_attrs=any" if host else dsn, folder=small)
    assert await value(empty_db, "SELECT count(*) FROM fruit") == 1


async def test_addresses_with_settings_and_special_characters_are_understood(
    postgres: str, empty_db: str, small: Path
) -> None:
    role, password = f"wwj_test {os.getpid()}@:/?#%", "p@ss:w/rd?#[%]&=ü ' \\"
    database = urlsplit(empty_db).path[1:]
    async with connected(postgres) as connection:
        quoted = password.replace("'", "''")
        await connection.execute(f"CREATE ROLE \"{role}\" SUPERUSER LOGIN PASSWORD '{quoted}'")
    try:
        parts = urlsplit(empty_db)
        login = f"{quote(role, safe='')}:{quote(password, safe='')}"
        netloc = f"{login}@{parts.netloc.rpartition('@')[2]}"
        query = "&".join(filter(None, [parts.query, "application_name=a%20b"]))
        dsn = parts._replace(netloc=netloc, query=query).geturl()
        assert await migrate(dsn, folder=small) == ALL_OF_SMALL
        owner = (
            "SELECT tableowner FROM pg_tables WHERE schemaname = 'public' AND tablename = 'fruit'"
        )
        assert await value(empty_db, owner) == role
    finally:
        async with connected(postgres) as connection:
            await connection.execute(f'DROP DATABASE "{database}" WITH (FORCE)')
            await connection.execute(f'CREATE DATABASE "{database}"')
            await connection.execute(f'DROP ROLE "{role}"')


async def test_a_database_that_cannot_be_reached_is_said_without_the_password() -> None:
    with pytest.raises(DatabaseUnusableError, match="cannot be reached") as caught:
        await migrate("postgresql://somebody:hidden@127.0.0.1:1/x")
    assert "hidden" not in str(caught.value)


async def test_a_read_only_database_is_told_before_anything_is_tried(
    empty_db: str, small: Path
) -> None:
    async with connected(empty_db) as connection:
        name = await connection.fetchval("SELECT quote_ident(current_database())")
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(DatabaseUnusableError, match=r"^DATABASE_URL: .* is a standby or read-only"):
        await migrate(empty_db, folder=small)


async def test_a_user_without_a_name_can_migrate(
    empty_db: str, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2_000_000_000)
    assert await migrate(empty_db, folder=small) == ALL_OF_SMALL


async def test_nothing_slow_is_imported_when_nothing_is_to_do(db: str) -> None:
    code = (
        "import asyncio, sys; from wastewise_jobs.db.schema.migrate import migrate;"
        "assert asyncio.run(migrate(sys.argv[1])) == [];"
        "print('slow:', sorted({'psycopg', 'yoyo', 'sqlparse'} & set(sys.modules)), 'end')"
    )
    async with start_process("-c", code, db, cwd=ROOT) as process:
        await eventually(lambda: process.has_said("slow: [] end"))


def test_the_files_of_a_checkout_are_found() -> None:
    assert sorted(migrations_dir().glob("0001_*.sql"))
