"""How what a real server says is judged."""

import asyncpg
import pytest

from wastewise_jobs.db import trouble


@pytest.mark.parametrize(
    ("statements", "family"),
    [
        ("SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())", trouble.OUTAGE),
        ("SET transaction_read_only = on; CREATE TABLE t (i int)", trouble.OUTAGE),
        ("SET statement_timeout = 1; SELECT pg_catalog.pg_sleep(60)", trouble.BUSY),
        ("SELECT i FROM nowhere", trouble.CHANGED_SCHEMA),
        ("SELECT nobody()", trouble.CHANGED_SCHEMA),
        ("SELECT '1'::nothing", trouble.CHANGED_SCHEMA),
        ("SELECT 'x'::integer", trouble.BAD_VALUE),
        ("SELECT pg_catalog.repeat('[', 1000000)::json", trouble.BAD_VALUE),
        ("CREATE TEMP TABLE t (i int CHECK (i > 0)); INSERT INTO t VALUES (0)", trouble.CONSTRAINT),
        ("EXECUTE lost", trouble.POOLED),
    ],
)
async def test_what_a_statement_meets_is_of_its_family(
    db: str, statements: str, family: trouble.States
) -> None:
    connection = await asyncpg.connect(db)
    try:
        with pytest.raises(asyncpg.PostgresError) as met:
            await connection.execute(statements)
    finally:
        connection.terminate()
    assert trouble.sqlstate(met.value).startswith(family)
    assert trouble.is_outage(met.value) is (family is trouble.OUTAGE)
    assert trouble.is_passing(met.value) is (family in {trouble.OUTAGE, trouble.BUSY})


async def test_a_table_that_somebody_holds_is_busy(db: str) -> None:
    connection, other = await asyncpg.connect(db), await asyncpg.connect(db)
    try:
        await other.execute("BEGIN; LOCK TABLE public.schema_info")
        with pytest.raises(asyncpg.PostgresError) as met:
            await connection.execute("BEGIN; LOCK TABLE public.schema_info NOWAIT")
    finally:
        connection.terminate()
        other.terminate()
    assert trouble.sqlstate(met.value).startswith(trouble.BUSY)
    assert not trouble.is_outage(met.value)


async def test_a_login_that_is_refused_is_an_outage(db: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as met:
        await asyncpg.connect(db, database="no_such_database")
    assert trouble.is_outage(met.value)
    assert not trouble.is_lost_connection(met.value)
