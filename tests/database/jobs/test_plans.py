"""What a transition reads must not grow with the rows that it does not want.

Counted in buffers, not in seconds: the same jobs are claimed and settled on an almost empty table
and beside 60,000 other rows, under every kind of statistics that a planner may have.
"""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from tests.conftest import connected, database
from tests.support.factories import (
    JOB_TYPES,
    LEASE,
    at,
    claim,
    enqueue,
    make_job,
    rescue,
    seconds_until_due,
)
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Connection, create_pool
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.jobs.store import JobStore

JOBS = 50
PER_FUNCTION = {
    "claim_jobs": "'w1', ARRAY['default'], {types}, {count}, '30 s'",
    "heartbeat_jobs": "{leases}, '30 s'",
    "progress_jobs": "{leases}, NULL, NULL, NULL, NULL",
    "complete_jobs": "{leases}, NULL",
    "retry_jobs": "{leases}, NULL, NULL, NULL, NULL, NULL",
    "fail_jobs": "{leases}, NULL, NULL, NULL, NULL",
    "release_jobs": "{leases}",
    "cancel_running_jobs": "{leases}",
    "rescue_jobs": "{count}",
    "seconds_until_due": "",
    "promote_due_jobs": "{count}",
    # Each user's first job, and each key has been used before.
    "enqueue_jobs": "{ids}, {types_of_new}, {inputs}, {users}, NULL, NULL, NULL, NULL, NULL, NULL, "
    "NULL, {keys}, {hashes}",
    "queue_jobs": "{held}",
}
KEY = {"idempotency_key": "used", "idempotency_hash": b"x"}
SITUATIONS = ("a new connection", "plans made before the load", "fresh statistics")
# The indexes are two levels deeper, and that is all.
DEEPER = 3.0

LOAD = """
INSERT INTO analysis_jobs (
    id, job_type, status, queue, priority, max_retries, completed_at, user_id
)
SELECT
    gen_random_uuid(), 'complete_analysis', 'completed', 'default', 5, 3, now(), gen_random_uuid()
FROM generate_series(1, 20000);

INSERT INTO analysis_jobs (id, job_type, status, queue, priority, max_retries, retry_after)
SELECT gen_random_uuid(), 'complete_analysis', 'pending', 'default', 1, 3, now() + interval '1 day'
FROM generate_series(1, 20000);

INSERT INTO analysis_jobs (id, job_type, status, queue, priority, max_retries)
SELECT gen_random_uuid(), 'nobody_runs_it', 'pending', 'default', 1, 3
FROM generate_series(1, 20000);

INSERT INTO job_queue (id, queue, job_type, priority, created_at, retry_after, due, fence)
SELECT id, queue, job_type, priority, created_at, retry_after, retry_after IS NULL, fence
FROM analysis_jobs
WHERE status = 'pending'
ON CONFLICT DO NOTHING
"""

Costs = dict[tuple[str, str, int], int]


@pytest.fixture(scope="module")
async def costs(postgres: str, template: str, server_version: int) -> AsyncIterator[Costs]:
    """Buffers read by (situation, function, number of jobs)."""
    found: Costs = {}
    used = [UUID(int=1 + n) for n in range(JOBS)]
    async with database(postgres, template=template, version=server_version) as db:
        async with connected(db) as planned_before, connected(db) as operator:
            async with create_pool(db) as pool:
                jobs = [make_job(user_id=user, **KEY, run_at=at(minutes=99)) for user in used]
                await enqueue(JobStore(pool), *jobs)
            for table in ("analysis_jobs", "job_queue"):
                # The situations are ours to make.
                await operator.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
                await operator.execute(f"ANALYZE {table}")
            for _ in range(7):  # From the sixth run on a plan is kept.
                await _measure_all(db, planned_before, "almost empty", found)
            await operator.execute("SET session_replication_role = replica")
            await operator.execute(LOAD)
            await _measure_all(db, planned_before, "plans made before the load", found)
            async with connected(db) as new:
                await _measure_all(db, new, "a new connection", found)
            await operator.execute("ANALYZE")
            await _measure_all(db, planned_before, "fresh statistics", found)
        yield found


async def _measure_all(db: str, connection: Connection, situation: str, found: Costs) -> None:
    async with create_pool(db) as pool:
        store = JobStore(pool)
        for count in (1, JOBS):
            await enqueue(store, *(make_job(priority=2) for _ in range(count)))
            types = f"ARRAY['{JOB_TYPES[0]}', '{JOB_TYPES[1]}']"
            claiming = PER_FUNCTION["claim_jobs"].format(types=types, count=count)
            cost = await _buffers(connection, "claim_jobs", claiming, rows=count)
            found[situation, "claim_jobs", count] = cost
            jobs = await claim(store, count)
            ids = ", ".join(f"'{job.id}'" for job in jobs)
            fences = ", ".join(str(job.fence) for job in jobs)
            leases = f"ARRAY[{ids}]::uuid[], ARRAY[{fences}]::bigint[]"
            for name, call in PER_FUNCTION.items():
                if name != "claim_jobs":
                    arguments = call.format(
                        leases=leases, held=f"ARRAY[{ids}]::uuid[]", count=count, **_new(count)
                    )
                    found[situation, name, count] = await _buffers(connection, name, arguments)
            await store.complete([(job, Completed()) for job in jobs])


def _new(count: int) -> dict[str, str]:
    users = [f"'{UUID(int=1 + n)}'" for n in range(count)]
    return {
        "ids": f"ARRAY[{', '.join(['gen_random_uuid()'] * count)}]",
        "types_of_new": f"array_fill('{JOB_TYPES[0]}'::text, ARRAY[{count}])",
        "inputs": f"array_fill('{{}}'::text, ARRAY[{count}])",
        "users": f"ARRAY[{', '.join(users)}]::uuid[]",
        "keys": f"array_fill('used'::text, ARRAY[{count}])",
        "hashes": f"array_fill('x'::bytea, ARRAY[{count}])",
    }


async def _buffers(
    connection: Connection, function: str, arguments: str, *, rows: int | None = None
) -> int:
    explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM "
    for _ in range(2):  # The first call of a session reads the catalogue too.
        transaction = connection.transaction()
        await transaction.start()
        text = await connection.fetchval(f"{explain}{function}({arguments})")
        await transaction.rollback()
    plan: dict[str, Any] = orjson.loads(text)[0]["Plan"]
    assert rows is None or plan["Actual Rows"] == rows
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


@pytest.mark.parametrize("function", PER_FUNCTION)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_cost_of_a_transition_does_not_grow_with_other_rows(
    costs: Costs, situation: str, function: str
) -> None:
    for count in (1, JOBS):
        loaded = costs[situation, function, count]
        alone = costs["almost empty", function, count]
        # A dozen pages on top: ten priorities are looked at, whatever waits.
        assert loaded <= alone * DEEPER + 24, f"{count} jobs: {alone} buffers alone, now {loaded}"


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_batch_of_claims_costs_less_than_twice_of_what_it_costs_alone(
    costs: Costs, situation: str
) -> None:
    alone = costs["almost empty", "claim_jobs", JOBS]
    assert costs[situation, "claim_jobs", JOBS] < 2 * alone


@pytest.fixture
async def watching(db: str) -> AsyncIterator[Connection]:
    async with connected(db) as connection:
        yield connection


async def test_no_transition_reads_a_table_from_end_to_end(db: str, watching: Connection) -> None:
    scans = (
        "SELECT relname, seq_scan, idx_scan FROM pg_stat_user_tables "
        "WHERE relname IN ('analysis_jobs', 'job_queue') ORDER BY relname"
    )
    await watching.execute("ANALYZE")
    before = await watching.fetch(scans)
    # Sessions that end have told their statistics.
    async with create_pool(db) as pool:
        store = JobStore(pool)
        await enqueue(store, *(make_job() for _ in range(3)))
        for job in await store.claim("w1", ["default"], ["complete_analysis"], 3, LEASE):
            await store.heartbeat([job], LEASE)
            await store.complete([(job, Completed())])
        await rescue(store)
        await seconds_until_due(store)

    async def told() -> bool:
        now = await watching.fetch(scans)
        return all(a["idx_scan"] > b["idx_scan"] for a, b in zip(now, before, strict=True))

    await eventually(told)
    after = await watching.fetch(scans)
    assert [row["seq_scan"] for row in after] == [row["seq_scan"] for row in before]


async def test_status_changes_are_hot_but_for_the_one_that_dates_the_end(
    db: str, watching: Connection
) -> None:
    async with create_pool(db) as pool:
        store = JobStore(pool)
        await enqueue(store, *(make_job() for _ in range(20)))
        for _ in range(2):
            jobs = await claim(store, 20)
            await store.release(jobs)
        jobs = await claim(store, 20)
        await store.complete([(job, Completed()) for job in jobs])

    async def told() -> asyncpg.Record | None:
        return await watching.fetchrow(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables "
            "WHERE relname = 'analysis_jobs' AND n_tup_upd >= 120"
        )

    row = await eventually(told)
    assert row is not None
    assert row["n_tup_upd"] == 120
    # Five claims and releases of twenty each; only a full page costs one of them its HOT update.
    assert row["n_tup_hot_upd"] >= 85


async def test_no_function_of_ours_is_ever_compiled(connection: Connection) -> None:
    compiled = await connection.fetch(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND prosecdef AND NOT 'jit=off' = ANY (coalesce(proconfig, '{}'))"
    )
    assert compiled == []
    assert await connection.fetchval(
        "SELECT count(*) FROM pg_proc WHERE 'jit=off' = ANY (proconfig)"
    )
