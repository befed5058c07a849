"""A WasteWise database that its users write to themselves, and what everybody else needs of it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from tests.conftest import connected, database
from tests.support.factories import assert_invariant, claim, enqueue_one
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.db.schema.migrate import migrate
from wastewise_jobs.jobs.model import JobFilter
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.monitoring.metrics import MetricsStore

# As adopted.sql has them.
MALLORY = UUID("11111111-1111-1111-1111-111111111111")
VICTIM = UUID("22222222-2222-2222-2222-222222222222")
OWN_PROJECT = UUID("aaaaaaaa-0000-0000-0000-000000000001")
VICTIMS_PROJECT = UUID("aaaaaaaa-0000-0000-0000-000000000002")
TYPES = ("complete_analysis", "invoice_extraction", "report_generation", "watched")
# The schema of an existing WasteWise database, and what its users may do there.
ADOPTED = Path(__file__).with_name("adopted.sql")
POLICIES = Path(__file__).with_name("foreign.sql")
# More than a page of a list may take from one job.
MOST_LISTED_BYTES = 200_000


@asynccontextmanager
async def adopted_database(server: str, *, changes: str = "SELECT 1") -> AsyncIterator[str]:
    """Migrated, and without jobs; `changes` are made before that."""
    async with database(server) as dsn:
        async with connected(dsn) as connection:
            for script in (ADOPTED, POLICIES):
                await connection.execute(script.read_text())
            await connection.execute(changes)
        await migrate(dsn)
        async with connected(dsn) as connection:
            await connection.execute("DELETE FROM analysis_jobs")
        yield dsn


@asynccontextmanager
async def acting_as(
    connection: Connection, role: str, user: UUID | None = None
) -> AsyncIterator[None]:
    """A transaction like PostgREST's: the role, and the claims of whoever asks."""
    async with connection.transaction():
        if user is not None:
            claims = json.dumps({"sub": str(user), "role": role})
            await connection.execute(
                "SELECT set_config('request.jwt.claims', $1, true), "
                "set_config('request.jwt.claim.sub', $2, true)",
                claims,
                str(user),
            )
        await connection.execute(f"SET LOCAL ROLE {role}")
        yield
        await connection.execute("RESET ROLE")


async def assert_everybody_is_served(connection: Connection, pool: Pool) -> None:
    """The victim's job goes all its way, and whoever looks at all jobs sees them."""
    store = JobStore(pool)
    theirs = await enqueue_one(store, user_id=VICTIM, project_id=VICTIMS_PROJECT)
    claimed = {job.id: job for job in await claim(store, 500, job_types=TYPES)}
    assert theirs in claimed
    await store.poll()
    for view in await store.list_jobs(JobFilter(), limit=200) + await store.views([*claimed]):
        assert len(repr(view)) < MOST_LISTED_BYTES
    assert await store.complete([(claimed[theirs], Completed('{"good": 1}'))]) == {theirs}
    await MetricsStore(pool).queue_metrics()
    await connection.fetch("SELECT roll_up_jobs()")
    await connection.fetch("SELECT * FROM detect_stuck_jobs(30)")
    await connection.fetch("SELECT calculate_error_rate('1 hour'::interval)")
    await connection.fetch("SELECT * FROM rescue_jobs(100)")
    assert await connection.fetchval("SELECT repair_job_queue()") == 0
    await assert_invariant(connection)
    assert await connection.fetchval("SELECT prune_jobs('1 day'::interval, 100)") >= 0
    assert await store.get(theirs, user_id=VICTIM) is not None
