import difflib

from tests.conftest import connected
from tests.database.schema.schema_dump import WRITTEN, dump


async def test_the_schema_that_reviewers_read_is_the_one_that_migrations_make(db: str) -> None:
    async with connected(db) as connection:
        made = await dump(connection)
    difference = difflib.unified_diff(
        WRITTEN.read_text().splitlines(), made.splitlines(), "schema.sql", "migrated", lineterm=""
    )
    # To accept a change: python -m tests.database.schema.schema_dump
    assert "\n".join(difference) == ""
