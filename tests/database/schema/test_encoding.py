"""A database whose encoding cannot hold every text is refused before anything is in it."""

import secrets
from collections.abc import AsyncIterator

import pytest

from tests.conftest import connected, dsn_of
from wastewise_jobs.cli.checks import Grade, examine
from wastewise_jobs.db.opening import Addresses
from wastewise_jobs.db.schema.migrate import migrate
from wastewise_jobs.errors import DatabaseUnusableError
from wastewise_jobs.settings import Settings


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
async def narrow_db(postgres: str, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    name = f"narrow_{secrets.token_hex(6)}"
    async with connected(postgres) as connection:
        await connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 LOCALE 'C' ENCODING '{request.param}'"
        )
        yield dsn_of(postgres, name)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_migrate_refuses_it_and_says_how_to_make_another(narrow_db: str) -> None:
    with pytest.raises(
        DatabaseUnusableError,
        match=r"^DATABASE_URL: .* its encoding is (SQL_ASCII|LATIN1), .* ENCODING 'UTF8' TEMPLATE",
    ):
        await migrate(narrow_db)
    async with connected(narrow_db) as connection:
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert await connection.fetchval(tables) == 0


async def test_doctor_names_it(narrow_db: str) -> None:
    addresses = Addresses(narrow_db, narrow_db)
    database, *_ = await examine(Settings(_env_file=None), addresses, repair=False)
    assert (database.check, database.verdict) == ("database", Grade.PROBLEM)
    assert "its encoding is" in database.says
    assert "ENCODING 'UTF8'" in database.advice
