"""What a handler sets in its session meets neither the completion nor the next user."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from secrets import token_hex

import pytest

from tests.conftest import connected
from tests.support import process_handlers
from tests.support.process_handlers import sets_in_process
from tests.support.waiting import eventually
from tests.support.workers import bench
from wastewise_jobs import JobContext, Jobs
from wastewise_jobs.db.pool import Pool

SET = (
    "SET ROLE {role}",
    "SET LOCAL ROLE {role}",
    "SELECT set_config('role', '{role}', false)",
    "SET SESSION AUTHORIZATION {role}",
    "SET LOCAL SESSION AUTHORIZATION {role}",
    "SET search_path = nowhere",
    "SET LOCAL search_path = ''",
    "SELECT set_config('search_path', 'nowhere', false)",
    "SET statement_timeout = 1",
    "SET LOCAL lock_timeout = 1",
    "SET row_security = off",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET client_encoding = 'LATIN1'",
    "SET timezone = 'Asia/Tokyo'",
    "SET LOCAL plan_cache_mode = force_custom_plan",
    "CREATE TEMP TABLE analysis_jobs (id uuid)",
    "SELECT pg_advisory_lock(1)",
    "DECLARE held CURSOR WITH HOLD FOR SELECT 1",
    "LISTEN somebody",
)
STATE = """
SELECT
    current_user, session_user, current_setting('search_path'), current_setting('TimeZone'),
    current_setting('statement_timeout'), current_setting('lock_timeout'),
    current_setting('row_security'), current_setting('default_transaction_read_only'),
    current_setting('client_encoding'), current_setting('plan_cache_mode'),
    current_setting('idle_in_transaction_session_timeout'),
    to_regclass('pg_temp.analysis_jobs') IS NULL AS no_table,
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
    (SELECT count(*) FROM pg_cursors WHERE is_holdable),
    (SELECT count(*) FROM pg_listening_channels())
"""


@pytest.fixture
async def role(postgres: str) -> AsyncIterator[str]:
    """A role that may do nothing, which the session may become."""
    name = f"wwj_nobody_{token_hex(4)}"
    async with connected(postgres) as connection:
        await connection.execute(f"CREATE ROLE {name}; GRANT {name} TO current_user")
        yield name
        await connection.execute(f"DROP ROLE {name}")


async def states(pool: Pool) -> set[tuple[object, ...]]:
    """Of every session that the pool has at this moment."""
    async with AsyncExitStack() as held:
        found = [await held.enter_async_context(pool.acquire()) for _ in range(pool.get_size())]
        return {tuple(*await connection.fetch(STATE)) for connection in found}


@pytest.mark.parametrize("statement", SET)
async def test_what_a_handler_sets_ends_with_its_transaction(
    db: str, role: str, statement: str
) -> None:
    jobs = Jobs()

    @jobs.handler("sets")
    async def sets(job: JobContext) -> None:
        async with job.transaction() as connection:
            await connection.execute(statement.format(role=role))
            job.set_result("done")

    @jobs.handler("sets_and_raises")
    async def sets_and_raises(job: JobContext) -> None:
        async with job.connection() as connection:
            await connection.execute(statement.format(role=role))
            raise RuntimeError

    async with bench(db, jobs) as b:
        before = await states(b.pool)
        async with b.worker() as worker:
            job_id = (await sets.enqueue()).id
            job = await b.until(job_id, "completed", "failed")
            assert (job.status, job.error_message, job.result) == ("completed", None, "done")
            if "HOLD" not in statement:
                await sets_and_raises.enqueue()
                await eventually(lambda: worker.stats.retried == 1)
        assert await states(b.pool) == before


async def test_a_child_undoes_what_its_handler_sets(db: str, role: str) -> None:
    async with bench(db, process_handlers.jobs) as b, b.worker(processes=1):
        job_id = (await sets_in_process.enqueue({"statement": f"SET ROLE {role}"})).id
        job = await b.until(job_id, "completed", "failed")
        assert (job.status, job.error_message) == ("completed", None)


@pytest.mark.parametrize(
    "statement", ["SET transaction_read_only = on", "SET TRANSACTION READ ONLY"]
)
async def test_a_transaction_that_was_made_read_only_says_so_and_is_tried_again(
    db: str, statement: str
) -> None:
    jobs = Jobs()

    @jobs.handler("sets")
    async def sets(job: JobContext) -> None:
        async with job.transaction() as connection:
            await connection.execute(statement)

    async with bench(db, jobs) as b, b.worker() as worker:
        job_id = (await sets.enqueue()).id
        await eventually(lambda: worker.stats.retried == 1)
        job = await b.job(job_id)
        assert (job.status, job.error_code) == ("pending", "TRANSACTION_READ_ONLY")
        assert "transaction_read_only" in (job.error_message or "")


async def test_constraints_that_were_put_off_are_checked_as_the_handler_set_them(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("bill")
    async def bill(job: JobContext) -> None:
        async with job.transaction() as connection:
            await connection.execute("SET LOCAL app.tenant = 'mine'")
            await connection.execute("INSERT INTO bills VALUES (1)")

    async with bench(db, jobs) as b, b.worker():
        await b.pool.execute("""
            CREATE TABLE bills (n integer);
            CREATE FUNCTION note_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                UPDATE bills SET n = length(current_setting('app.tenant'));
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER late AFTER INSERT ON bills DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION note_tenant();
        """)
        await b.until((await bill.enqueue()).id, "completed")
        assert await b.pool.fetchval("SELECT n FROM bills") == 4


async def test_a_session_that_cannot_be_reset_is_not_used_again(db: str, role: str) -> None:
    """Its handler was cancelled at the wrong moment: the reset may not have happened."""
    jobs = Jobs()
    used: list[int] = []
    reached = asyncio.Event()

    @jobs.handler("sets")
    async def sets(job: JobContext) -> None:
        async with job.connection() as connection:
            used.append(await connection.fetchval("SELECT pg_backend_pid()"))
            await connection.execute(f"SET ROLE {role}")
            task = asyncio.current_task()
            assert task is not None
            # Thrown where the block's end waits for the server.
            asyncio.get_running_loop().call_soon(task.cancel)
            reached.set()

    async with bench(db, jobs) as b, b.worker() as worker:
        await sets.enqueue()
        await reached.wait()
        await eventually(lambda: worker.running == 0)

        async def ended() -> bool:
            rows = await b.pool.fetch(
                "SELECT usename FROM pg_stat_activity WHERE pid = ANY ($1)", used
            )
            return not rows

        await eventually(ended)
