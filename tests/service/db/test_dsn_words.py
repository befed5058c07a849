"""An address as providers print it leads to the database by every way of ours."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from wastewise_jobs.cli.psql import without_password
from wastewise_jobs.db.connect import connect
from wastewise_jobs.db.embedded.binaries import find_binaries
from wastewise_jobs.db.opening import Addresses, checked_pool, direct_connection
from wastewise_jobs.db.schema.migrate import migrate
from wastewise_jobs.dsn import Dsn, read_dsn

WORDS = [
    *("channel_binding=require", "sslmode=prefer", "requirepeer=nobody", "gssdelegation=1"),
    *("channel_binding=prefer", "gssencmode=disable", "connect_timeout=10", "pgbouncer=false"),
    "keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3",
    *("application_name=my%20app", "fallback_application_name=mine", "tcp_user_timeout=1000"),
    *("target_session_attrs=read-write", "target_session_attrs=primary", "requiressl=0"),
    *("sslnegotiation=postgres", "connection_limit=1&pool_timeout=0&schema=public"),
    *("options=-c%20statement_timeout%3D9000", "options=-csearch_path%3Dpublic"),
    *("client_encoding=utf8", "load_balance_hosts=disable", "supa=base-pooler.x"),
    *("statement_cache_size=0&prepared_statement_cache_size=0", "uselibpqcompat=true"),
    *("passfile=/nowhere/pgpass", "jit=off&statement_timeout=9000", "currentSchema=public"),
]


def psql(dsn: str) -> str:
    address, hidden = without_password(dsn)
    program = Path(os.environ.get("WASTEWISE_PG_BIN") or find_binaries(), "psql")
    done = subprocess.run(
        [str(program), address, "-XAtc", "SELECT current_database()"],
        env={**os.environ, **hidden},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


async def reached_by_all(dsn: str, name: str) -> None:
    async with direct_connection(Addresses(dsn, dsn)) as connection:
        assert await connection.fetchval("SELECT current_database()") == name
    async with checked_pool(Addresses(dsn, dsn)) as pool:
        assert await pool.fetchval("SELECT current_database()") == name
    assert await migrate(dsn) == []
    with psycopg.connect(**read_dsn(dsn).for_libpq()) as connected_by_libpq:  # type: ignore[arg-type]
        assert connected_by_libpq.info.dbname == name
    assert psql(dsn) == name


@pytest.mark.parametrize("words", WORDS)
async def test_libpqs_words_and_those_of_others_stop_nobody(db: str, words: str) -> None:
    name = read_dsn(db).database
    await reached_by_all(f"{db}{'&' if '?' in db else '?'}{words}", name)


FORMS: dict[str, Callable[[Dsn, str], str]] = {
    "in quotes": lambda _, dsn: f'"{dsn}"\n',
    "of SQLAlchemy": lambda _, dsn: dsn.replace("postgresql://", "postgresql+asyncpg://"),
    "short": lambda _, dsn: dsn.replace("postgresql://", "postgres://"),
    "pairs": lambda address, _: " ".join(
        f"{name}='{value}'" for name, value in address.for_libpq().items()
    ),
}


@pytest.mark.parametrize("form", FORMS)
async def test_the_forms_of_an_address_lead_to_the_same_place(db: str, form: str) -> None:
    address = read_dsn(db)
    await reached_by_all(FORMS[form](address, db), address.database)


async def test_a_service_file_leads_there(
    db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = read_dsn(db)
    lines = [f"{name}={value}" for name, value in address.for_libpq().items()]
    (tmp_path / "services").write_text("\n".join(["[here]", *lines]))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    await reached_by_all("postgresql://?service=here", address.database)


async def test_a_word_that_neither_we_nor_the_server_know_is_dropped_and_told(db: str) -> None:
    address = read_dsn(db)
    dsn = replace(address, settings={"no_such_word": "hunter2", "jit": "off"}).of_database(
        address.database
    )
    with capture_logs() as logs:
        connection = await connect(dsn)
    assert await connection.fetchval("SHOW jit") == "off"
    await connection.close()
    assert [one["words"] for one in logs] == [["no_such_word"]]
    assert "hunter2" not in str(logs)


async def test_the_name_of_an_application_is_the_beginning_of_ours(db: str) -> None:
    dsn = f"{db}{'&' if '?' in db else '?'}application_name=mine"
    async with checked_pool(Addresses(dsn, dsn)) as pool:
        assert await pool.fetchval("SHOW application_name") == "mine"
    async with direct_connection(Addresses(dsn, dsn), name="wastewise-jobs listener") as connection:
        assert await connection.fetchval("SHOW application_name") == "mine listener"
