"""Whatever a row holds, it harms only its own owner."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from tests.conftest import connected
from tests.support.factories import (
    LEASE,
    assert_invariant,
    at,
    claim,
    come_due,
    enqueue,
    expire_leases,
    make_job,
    rescue,
    seconds_until_due,
)
from tests.support.hostile_values import (
    COLUMNS_LEFT_OUT,
    READABLE,
    UNREADABLE,
    columns,
    named,
    spoil,
)
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.jobs.model import ClaimedJob, JobFilter, JobId, JobView, Progress
from wastewise_jobs.jobs.outcome import Completed, Failed, RetryLater
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.maintenance.checks import Thresholds, all_checks
from wastewise_jobs.maintenance.rounds import Maintenance
from wastewise_jobs.monitoring.metrics import MetricsStore
from wastewise_jobs.monitoring.prometheus import Exposition
from wastewise_jobs.monitoring.trends import TrendStore
from wastewise_jobs.monitoring.workers import FleetStore
from wastewise_jobs.web.api.views import job_answer, job_summary
from wastewise_jobs.web.watch import version

ALL = READABLE + UNREADABLE


@pytest.fixture
async def operator(queue_db: str) -> AsyncIterator[Connection]:
    """Whoever restores rows, apart from those who look at them."""
    async with connected(queue_db) as connection:
        yield connection


async def test_every_column_has_its_hostile_values(connection: Connection) -> None:
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute "
        "WHERE attrelid = 'public.analysis_jobs'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    assert {row[0] for row in rows} == columns() | COLUMNS_LEFT_OUT


@pytest.mark.parametrize(("column", "value"), UNREADABLE, ids=named(UNREADABLE))
async def test_a_claim_fails_the_row_that_spoils_it_and_goes_on(
    store: JobStore, connection: Connection, operator: Connection, column: str, value: str
) -> None:
    jobs = [
        job.id
        for job in await enqueue(store, *(make_job(user_id=uuid4(), priority=5) for _ in range(7)))
    ]
    first, second = jobs[0], jobs[3]
    await spoil(operator, first, column, value)
    await connection.execute("SELECT repair_job_queue()")
    # And one that the queue knows nothing of.
    await spoil(operator, second, column, value)
    claimed = await claim(store, 4) + await claim(store, 4)
    assert {job.id for job in claimed} == set(jobs) - {first, second}
    assert await store.complete([(job, Completed()) for job in claimed]) == {
        job.id for job in claimed
    }
    for job_id in (first, second):
        await assert_failed_as_unreadable(store, connection, job_id, column)
    await assert_invariant(connection)


@pytest.mark.parametrize(("column", "value"), UNREADABLE, ids=named(UNREADABLE))
async def test_a_caller_of_get_next_job_gets_the_job_behind_it(
    store: JobStore, connection: Connection, operator: Connection, column: str, value: str
) -> None:
    first, second = await enqueue(store, make_job(), make_job())
    await spoil(operator, first.id, column, value)
    assert await connection.fetchval("SELECT get_next_job('w9')") == second.id
    await assert_failed_as_unreadable(store, connection, first.id, column)


@pytest.mark.parametrize(("column", "value"), ALL, ids=named(ALL))
async def test_its_owner_can_cancel_and_requeue_it(
    store: JobStore, connection: Connection, operator: Connection, column: str, value: str
) -> None:
    waits, runs, failed, retried = [
        job.id
        for job in await enqueue(
            store, *(make_job(user_id=uuid4(), priority=p) for p in (5, 4, 3, 5))
        )
    ]
    jobs = {job.id: job for job in await claim(store, 2)}
    await store.fail([(jobs[failed], Failed("NO", "no", "permanent"))])
    for job_id in (waits, runs, failed, retried):
        await spoil(operator, job_id, column, value)
    assert await store.cancel(waits, user_id=None) == "cancelled"
    assert await store.cancel(runs, user_id=None) == "requested"
    assert await store.requeue(failed, user_id=None) == "requeued"
    await connection.fetchval("SELECT schedule_job_retry($1, 'again')", retried)
    await connection.execute("SELECT repair_job_queue()")
    await assert_invariant(connection)


async def test_any_number_of_unreadable_rows_is_passed_in_one_claim(
    store: JobStore, connection: Connection, operator: Connection
) -> None:
    bad = await enqueue(store, *(make_job(priority=1) for _ in range(300)))
    (good,) = await enqueue(store, make_job(priority=9))
    await operator.execute("SET session_replication_role = replica")
    await operator.execute(
        "UPDATE analysis_jobs SET fence = 9223372036854775807 WHERE id = ANY ($1)",
        [job.id for job in bad],
    )
    assert [job.id for job in await claim(store, 10)] == [good.id]
    assert (
        await connection.fetchval(
            "SELECT count(*) FROM analysis_jobs WHERE error_code = 'UNREADABLE_ROW'"
        )
        == 300
    )
    # One cause, one alert.
    assert await connection.fetchval("SELECT occurrences FROM job_alerts") == 300


GUARD = """
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF OLD.priority_reason = 'guarded' THEN RAISE 'guarded'; END IF; RETURN NULL; END $$;
CREATE TRIGGER guard AFTER UPDATE ON analysis_jobs FOR EACH ROW EXECUTE FUNCTION guard()
"""


async def test_a_job_that_a_trigger_of_others_guards_is_set_aside_for_a_minute(
    store: JobStore, connection: Connection
) -> None:
    jobs = await enqueue(
        store, *(make_job(priority=5, priority_reason=r) for r in ("a", "guarded", "c"))
    )
    await connection.execute(GUARD)
    try:
        claimed = await claim(store, 3)
        assert [job.id for job in claimed] == [jobs[0].id, jobs[2].id]
        assert len(await store.complete([(job, Completed()) for job in claimed])) == 2
        assert await claim(store, 3) == []
        due_in = await seconds_until_due(store)
        assert due_in is not None
        assert 30 < due_in <= 60
    finally:
        await connection.execute("DROP FUNCTION guard() CASCADE")
    # Nothing has happened to it.
    assert (await seen(store, jobs[1].id)).status == "pending"
    await connection.execute("SELECT repair_job_queue()")
    assert [job.id for job in await claim(store, 3)] == [jobs[1].id]


async def test_a_requeued_row_that_is_still_unreadable_is_failed_again(
    store: JobStore, connection: Connection, operator: Connection
) -> None:
    first, second = await enqueue(store, make_job(), make_job())
    await spoil(operator, first.id, "created_at", "'infinity'")
    assert [job.id for job in await claim(store, 2)] == [second.id]
    assert await store.requeue(first.id, user_id=None) == "requeued"
    assert await claim(store, 2) == []
    await assert_failed_as_unreadable(store, connection, first.id, "created_at")
    # Once it is mended it runs.
    await operator.execute("UPDATE analysis_jobs SET created_at = now() WHERE id = $1", first.id)
    assert await store.requeue(first.id, user_id=None) == "requeued"
    assert [job.id for job in await claim(store, 2)] == [first.id]


async def test_an_infinite_time_to_wait_for_is_waited_for(
    store: JobStore, connection: Connection, operator: Connection
) -> None:
    waits, other = await enqueue(store, make_job(), make_job(run_at=at(minutes=5)))
    await spoil(operator, waits.id, "retry_after", "'infinity'")
    await connection.execute("SELECT repair_job_queue()")
    assert await claim(store, 5) == []
    due_in = await seconds_until_due(store)
    assert due_in is not None
    assert due_in <= 300
    await come_due(connection, other.id)
    assert [job.id for job in await claim(store, 5)] == [other.id]
    assert await seconds_until_due(store) is None
    assert (await seen(store, waits.id)).retry_after is None


async def assert_failed_as_unreadable(
    store: JobStore, connection: Connection, job_id: JobId, column: str
) -> None:
    view = await seen(store, job_id)
    assert (view.status, view.error_code) == ("failed", "UNREADABLE_ROW")
    assert column in (view.error_message or "")
    assert await connection.fetchval(
        "SELECT count(*) FROM job_alert_jobs WHERE job_id = $1", job_id
    )


@pytest.mark.parametrize(("column", "value"), READABLE, ids=named(READABLE))
async def test_a_job_runs_to_its_end_whatever_else_its_row_holds(
    store: JobStore, connection: Connection, operator: Connection, column: str, value: str
) -> None:
    jobs = [
        job.id
        for job in await enqueue(store, *(make_job(user_id=uuid4(), priority=5) for _ in range(3)))
    ]
    await spoil(operator, jobs[1], column, value)
    await connection.execute("SELECT repair_job_queue()")
    claimed = await claim(store, 5)
    assert {job.id for job in claimed} == set(jobs)
    assert len(await store.complete([(job, Completed("1")) for job in claimed])) == 3
    await assert_invariant(connection)


@pytest.mark.parametrize(("column", "value"), ALL, ids=named(ALL))
async def test_a_row_that_is_spoiled_while_it_runs_disturbs_nobody(
    store: JobStore, connection: Connection, operator: Connection, column: str, value: str
) -> None:
    """Of each pair the first is spoiled; every statement gets both at once."""
    settling = {
        "progress": lambda p: store.progress([(job, Progress(50, "half")) for job in p]),
        "complete": lambda p: store.complete([(job, Completed("1")) for job in p]),
        "fail": lambda p: store.fail([(job, Failed("NO", "no", "permanent")) for job in p]),
        "retry": lambda p: store.retry([(job, RetryLater("X", "x", "retryable")) for job in p]),
        "release": store.release,
        "cancel": store.cancel_running,
    }
    await enqueue(store, *(make_job(user_id=uuid4(), priority=5) for _ in range(12)))
    jobs = await claim(store, 12)
    pairs = dict(zip(settling, (jobs[n : n + 2] for n in range(0, 12, 2)), strict=True))
    for spoiled, _ in pairs.values():
        await spoil(operator, spoiled.id, column, value)
    good = {job.id for _, job in pairs.values()}
    lost = {beat.id for beat in await store.heartbeat(jobs, LEASE) if not beat.held}
    assert not lost & good
    await store.cancel(pairs["cancel"][1].id, user_id=None)
    for name, settle in settling.items():
        assert pairs[name][1].id in await settled(settle, pairs[name])
    # What the spoiled ones still hold is rescued like everything else.
    await expire_leases(connection, *(job.id for job in jobs))
    await rescue(store)
    assert not await connection.fetchval("SELECT count(*) FROM job_queue WHERE leased AND expired")
    assert pairs["progress"][1].id in {
        row[0] for row in await connection.fetch("SELECT id FROM job_queue WHERE NOT leased")
    }
    await connection.execute("SELECT repair_job_queue()")
    await assert_invariant(connection)


async def settled(
    settle: Callable[[list[ClaimedJob]], Awaitable[Collection[JobId]]], jobs: list[ClaimedJob]
) -> set[JobId]:
    """As a worker does it: job by job where a constraint refuses the batch."""
    try:
        return set(await settle(jobs))
    except asyncpg.CheckViolationError:
        won: set[JobId] = set()
        for job in jobs:
            with contextlib.suppress(asyncpg.CheckViolationError):
                won |= set(await settle([job]))
        return won


@pytest.mark.parametrize(("column", "value"), ALL, ids=named(ALL))
async def test_everything_that_looks_at_jobs_goes_on(
    pool: Pool,
    store: JobStore,
    connection: Connection,
    operator: Connection,
    column: str,
    value: str,
) -> None:
    await enqueue(store, *(make_job(user_id=uuid4(), priority=5) for _ in range(8)))
    done, failed, running = await claim(store, 3)
    await store.complete([(done, Completed('{"a": 1}'))])
    await store.fail([(failed, Failed("NO", "no", "permanent"))])
    waiting = JobId(await connection.fetchval("SELECT id FROM job_queue WHERE due LIMIT 1"))
    await connection.execute(
        "UPDATE analysis_jobs SET completed_at = completed_at - interval '5 minutes', "
        "started_at = started_at - interval '5 minutes' WHERE completed_at IS NOT NULL"
    )
    spoiled = [done.id, failed.id, running.id, waiting]
    for job_id in spoiled:
        await spoil(operator, job_id, column, value)
    await goes_on(pool, store, spoiled)
    assert await connection.fetchval("SELECT rolled_up_until FROM schema_info") is not None
    await connection.execute("SELECT repair_job_queue()")
    await assert_invariant(connection)
    await goes_on(pool, store, spoiled)


async def goes_on(pool: Pool, store: JobStore, spoiled: list[JobId]) -> None:
    await store.poll()
    await seconds_until_due(store)
    async with pool.acquire() as connection:
        for call in (
            "promote_due_jobs(10)",
            "rescue_jobs(10)",
            "roll_up_jobs()",
            "calculate_error_rate('1 hour')",
            "detect_stuck_jobs(0)",
            "get_queue_metrics('UTC')",
            "prune_jobs('30 days', 0)",
        ):
            await connection.fetch(f"SELECT * FROM {call}")  # noqa: S608
    await store.prune(timedelta(days=3650), 0)
    await MetricsStore(pool).queue_metrics()
    await TrendStore(pool).trends(timedelta(days=1), timedelta(minutes=15))
    await FleetStore(pool).fleet()
    assert b"wastewise_database_up 1.0" in await Exposition(pool).text()
    maintenance = Maintenance(
        pool, all_checks(Thresholds()), interval=timedelta(0), jitter=timedelta(0)
    )
    assert await maintenance.tick()
    assert not maintenance.failures
    listed = {view.id: view for view in await store.list_jobs(JobFilter(), limit=20)}
    watched = {view.id: view for view in await store.views(spoiled)}
    for job_id in spoiled:
        if job_id in listed:
            assert len(job_summary(listed[job_id]).model_dump_json()) < 100_000
            assert listed[job_id].retry_errors == []
            assert version(watched[job_id])
            job_answer(watched[job_id]).model_dump_json()
            job_answer(await seen(store, job_id)).model_dump_json()


async def seen(store: JobStore, job_id: JobId) -> JobView:
    view = await store.get(job_id, user_id=None)
    assert view is not None
    return view
