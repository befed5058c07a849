"""`migrate` as people run it: what it does, and what it refuses."""

import os
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from tests.conftest import connected
from tests.support.commands import SECRET, run
from wastewise_jobs.db.schema.migrate import migrate

KEY = UUID(int=1)


async def test_migrations_are_planned_applied_and_taken_back(empty_db: str, tmp_path: Path) -> None:
    env = {"DATABASE_URL": empty_db}
    nothing = await run("migrate", "--rollback", env=env, cwd=tmp_path)
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "nothing to undo\n")
    planned = await run("migrate", "--plan", env=env, cwd=tmp_path)
    applied = await run("migrate", env=env, cwd=tmp_path)
    assert [line.split()[-1] for line in planned.stdout.splitlines()] == [
        line.split()[-1] for line in applied.stdout.splitlines()
    ]
    assert "0002_queue" in applied.stdout
    again = await run("migrate", env=env, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, "")
    async with connected(empty_db) as connection:
        known = await connection.fetch("SELECT job_type FROM job_types ORDER BY 1")
    assert "complete_analysis" in [row["job_type"] for row in known]
    undone = await run("migrate", "--rollback", env=env, cwd=tmp_path)
    assert undone.returncode == 0, undone.stderr
    numbered = [line.split()[-1] for line in applied.stdout.splitlines() if "post-" not in line]
    assert undone.stdout == f"undone {numbered[-1]}\n"


async def test_rows_are_thrown_away_only_by_somebody_who_means_it(db: str, tmp_path: Path) -> None:
    env = {"DATABASE_URL": db}
    async with connected(db) as connection:
        await connection.execute("INSERT INTO analysis_jobs (id, job_type) VALUES ($1, 'x')", KEY)
        refused = await run("migrate", "--rollback", "--count", "99", env=env, cwd=tmp_path)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr == (
            "error: --rollback: would throw away the rows of analysis_jobs, job_queue; "
            "add --yes if you mean it\n"
        )
        assert await connection.fetchval("SELECT count(*) FROM analysis_jobs") == 1
    meant = await run("migrate", "--rollback", "--count", "99", "--yes", env=env, cwd=tmp_path)
    assert meant.returncode == 0, meant.stderr
    assert meant.stdout.splitlines()[-1] == "undone 0001_projects_and_jobs"


@pytest.mark.parametrize("command", ["migrate", "worker", "keys create --user " + str(KEY)])
async def test_a_read_only_database_is_told_as_such(db: str, tmp_path: Path, command: str) -> None:
    async with connected(db) as connection:
        name = await connection.fetchval("SELECT quote_ident(current_database())")
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    done = await run(*command.split(), env={"DATABASE_URL": db}, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    said = done.stderr.splitlines()[-1]
    assert said.startswith("error: DATABASE_URL: the database ")
    assert "standby or read-only" in said


async def test_a_role_without_rights_is_told_what_it_lacks(
    postgres: str, empty_db: str, tmp_path: Path
) -> None:
    role = f"without_rights_{os.getpid()}"
    parts = urlsplit(empty_db)
    netloc = f"{role}:x@{parts.netloc.rpartition('@')[2]}"
    dsn = parts._replace(netloc=netloc).geturl()
    async with connected(postgres) as connection:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    try:
        async with connected(empty_db) as connection:
            await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        told = await run("migrate", env={"DATABASE_URL": dsn}, cwd=tmp_path)
        assert (told.returncode, told.stdout) == (1, "")
        assert told.stderr.startswith(
            f"error: DATABASE_URL: its role {role} may not create tables in schema public: "
        )
        await migrate(empty_db)
        told = await run("worker", env={"DATABASE_URL": dsn}, cwd=tmp_path)
        assert told.returncode == 1
        assert told.stderr == (
            "error: DATABASE_URL: its role lacks a right: permission denied for table schema_info\n"
        )
    finally:
        async with connected(postgres) as connection:
            await connection.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("command", ["migrate", "worker", "bench", "keys list"])
async def test_an_unreachable_database_is_told_by_variable_and_place(
    tmp_path: Path, command: str
) -> None:
    env = {"DATABASE_URL": "postgresql://app:hunter2@127.0.0.1:1/x", "JWT_SECRET": SECRET}
    done = await run(*command.split(), env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: DATABASE_URL: the database x at 127.0.0.1:1 cannot be reached: connection refused\n"
    )


async def test_of_two_addresses_the_wrong_one_is_named(db: str, tmp_path: Path) -> None:
    env = {"DATABASE_URL": db, "DATABASE_DIRECT_URL": "postgresql://127.0.0.1:1/x"}
    for command in ("migrate", "worker"):
        done = await run(command, env=env, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("error: DATABASE_DIRECT_URL: the database x at 127.0.0.1:1 ")
    env = {"DATABASE_URL": db + "&sslmode=banana", "JWT_SECRET": SECRET}
    done = await run("worker", env=env, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: DATABASE_URL: cannot be used: ")


async def test_a_home_or_binaries_that_cannot_be_used_are_wrong_settings(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" / "home"
    done = await run("worker", env={"WASTEWISE_HOME": str(home)}, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: WASTEWISE_HOME: {home} cannot be used")
    assert "[Errno" not in done.stderr
    env = {"WASTEWISE_HOME": str(tmp_path / "home"), "WASTEWISE_PG_BIN": str(tmp_path)}
    done = await run("migrate", env=env, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: WASTEWISE_PG_BIN: {tmp_path} does not hold")


async def test_a_schema_in_which_everybody_may_create_is_told_and_nothing_is_stopped(
    empty_db: str, tmp_path: Path
) -> None:
    async with connected(empty_db) as connection:
        await connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    done = await run("migrate", env={"DATABASE_URL": empty_db}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "REVOKE CREATE ON SCHEMA public FROM PUBLIC" in done.stderr
    async with connected(empty_db) as connection:
        await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    again = await run("migrate", env={"DATABASE_URL": empty_db}, cwd=tmp_path)
    assert (again.returncode, "REVOKE" in again.stderr) == (0, False)


async def test_a_file_that_an_address_names_is_told_as_such(db: str, tmp_path: Path) -> None:
    missing = (
        f"postgresql://u:hunter2@127.0.0.1:1/d?sslmode=verify-ca&sslrootcert={tmp_path}/ca.pem"
    )
    done = await run("migrate", env={"DATABASE_URL": missing}, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: DATABASE_URL: cannot be used: sslrootcert names a file that cannot be read: "
        f"{tmp_path}/ca.pem\n"
    )
