"""A function of ours means the same whoever calls it, and wherever others may create things."""

import re
from pathlib import Path

import pytest

from tests.conftest import connected, database
from tests.support.factories import make_running
from wastewise_jobs.db.pool import Connection, create_pool
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.jobs.store import JobStore

ROOT = Path(__file__).parents[3]
OURS = re.compile(
    r"CREATE (?:OR REPLACE )?(?:FUNCTION|TABLE)(?: IF NOT EXISTS)? (?:public\.)?(\w+)"
)


def migrations() -> list[Path]:
    return sorted((ROOT / "migrations").glob("*.sql"))


def names_of_ours() -> set[str]:
    return {name for path in migrations() for name in OURS.findall(path.read_text())}


def test_functions_name_what_is_ours_with_its_schema() -> None:
    names = "|".join(sorted(names_of_ours(), key=len, reverse=True))
    bare = re.compile(rf"(?<![\w.'])(?:{names})(?![\w.'])")
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path in migrations()
        if path.name.startswith("post-apply")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if not line.lstrip().startswith("--") and bare.search(line)
    ]
    assert found == []


def test_python_names_what_is_ours_with_its_schema() -> None:
    names = "|".join(sorted(names_of_ours(), key=len, reverse=True))
    bare = re.compile(
        rf"\b(?:FROM|JOIN|INTO|UPDATE|TABLE|SELECT|LATERAL) (?:{names})\b(?! AS \()(?! SET )"
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / "wastewise_jobs").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if bare.search(line)
    ]
    assert found == []


async def test_functions_look_in_the_catalogue_first_and_nowhere_else(
    connection: Connection,
) -> None:
    rows = await connection.fetch(
        """
        SELECT p.oid::regprocedure::text
        FROM pg_proc p
        JOIN pg_language l ON l.oid = p.prolang
        WHERE p.pronamespace = 'public'::regnamespace
          AND (p.prosecdef OR l.lanname <> 'sql')
          AND NOT 'search_path=pg_catalog, pg_temp' = ANY (coalesce(p.proconfig, '{}'))
        """
    )
    assert [row[0] for row in rows] == []


async def test_no_function_has_a_second_form(connection: Connection) -> None:
    """Else a literal without a type decides which one is meant."""
    rows = await connection.fetch(
        """
        SELECT p.proname FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
        GROUP BY p.proname HAVING count(*) > 1
        """
    )
    assert [row[0] for row in rows] == []


# Each fits what a function of ours calls better than PostgreSQL's own does.
SHADOWS = """
CREATE SCHEMA IF NOT EXISTS public;
GRANT CREATE ON SCHEMA public TO PUBLIC;
CREATE ROLE {role} LOGIN;
SET ROLE {role};
CREATE FUNCTION public.date_bin(text, timestamptz, text) RETURNS timestamptz LANGUAGE plpgsql
    AS $$ BEGIN RAISE 'shadowed by %', current_user; END $$;
CREATE FUNCTION public.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql
    AS $$ BEGIN RAISE 'shadowed by %', current_user; END $$;
CREATE FUNCTION public.jsonb_build_object(text, text) RETURNS jsonb LANGUAGE plpgsql
    AS $$ BEGIN RAISE 'shadowed by %', current_user; END $$;
CREATE FUNCTION public.pg_notify(unknown_topic text, payload text) RETURNS void LANGUAGE plpgsql
    AS $$ BEGIN RAISE 'shadowed by %', current_user; END $$;
CREATE FUNCTION public.make_interval(secs integer) RETURNS interval LANGUAGE plpgsql
    AS $$ BEGIN RAISE 'shadowed by %', current_user; END $$;
CREATE FUNCTION public.shadow(text, text) RETURNS boolean LANGUAGE plpgsql
    AS $$ BEGIN RAISE 'shadowed by %', current_user; END $$;
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.shadow);
RESET ROLE
"""


async def test_what_others_create_in_public_is_never_called(
    postgres: str, template: str, server_version: int
) -> None:
    role = "wwj_shadow"
    async with database(postgres, template=template, version=server_version) as dsn:
        async with connected(dsn) as connection:
            await connection.execute(SHADOWS.format(role=role))
        try:
            # The attacker's schema comes first, as a careless role would have it.
            async with connected(dsn) as connection:
                await connection.execute("SET search_path = public, pg_catalog")
                await _whole_life(connection)
        finally:
            async with connected(dsn) as connection:
                await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def _whole_life(connection: Connection) -> None:
    for status in ("completed", "failed", "cancelled"):
        job_id = await connection.fetchval(
            "INSERT INTO public.analysis_jobs (job_type, user_id) "
            "VALUES ('nothing'::text, gen_random_uuid()) RETURNING id"
        )
        await connection.execute("SELECT public.get_next_job('somebody'::text)")
        await connection.execute(
            "UPDATE public.analysis_jobs SET status = $2::text, "
            "completed_at = now() OPERATOR(pg_catalog.-) '1 minute'::interval WHERE id = $1",
            job_id,
            status,
        )
    for call in (
        "roll_up_jobs()",
        "repair_job_queue()",
        "calculate_error_rate('1 hour'::interval)",
        "detect_stuck_jobs(30)",
        "get_queue_metrics('UTC'::text)",
        "cleanup_old_analysis_jobs(30)",
        "rescue_jobs(10)",
    ):
        await connection.execute(f"SELECT public.{call}")


@pytest.mark.parametrize("path", ["''", "elsewhere", "pg_temp"])
async def test_another_search_path_changes_nothing(db: str, path: str) -> None:
    async with connected(db) as connection:
        name = await connection.fetchval("SELECT quote_ident(current_database())")
        await connection.execute(f"ALTER DATABASE {name} SET search_path = {path}")
    async with create_pool(db, max_size=2) as pool:
        store = JobStore(pool)
        job = await make_running(store)
        assert await store.complete([(job, Completed(None))]) == {job.id}
