"""Whether the checks see what they are there to see: each is shown a violation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from benchmarks.chaos import history
from benchmarks.chaos.history import Connection
from benchmarks.chaos.invariants import INVARIANTS, idle_in_transaction, violations
from benchmarks.chaos.site import Run

# Four jobs in good order: completed at once, after a rescue, after a retry, with an effect.
_GOOD_ORDER = """
INSERT INTO job_types (job_type) VALUES ('work'), ('effect');
SELECT enqueue_jobs(
    ARRAY['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002',
          '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-000000000004']::uuid[],
    ARRAY['work', 'work', 'work', 'effect'], ARRAY['{"key": "1"}', '{"key": "2"}', '{}', '{}'],
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SET chaos.process = 'w1.1';
SELECT claim_jobs('w1.1', NULL, NULL, 4, '30 s');
SELECT retry_jobs(
    ARRAY['00000000-0000-0000-0000-000000000003']::uuid[], ARRAY[1], ARRAY['no'], ARRAY['NO'],
    ARRAY['{}'], ARRAY['retryable'], NULL);
UPDATE job_queue SET lease_expires_at = now() - interval '1 s', expired = true
WHERE id = '00000000-0000-0000-0000-000000000002';
SELECT rescue_jobs(10);
UPDATE analysis_jobs SET retry_after = NULL WHERE status = 'pending';
SELECT claim_jobs('w1.1', NULL, NULL, 4, '30 s');
INSERT INTO chaos.effects VALUES ('00000000-0000-0000-0000-000000000004', 1);
SELECT complete_jobs(
    array_agg(id), array_agg(fence), array_agg(jsonb_build_object('fence', fence)::text))
FROM analysis_jobs;
INSERT INTO chaos.acks SELECT id, NULL FROM analysis_jobs;
INSERT INTO chaos.runs
SELECT job_id, fence, process, 10 * fence, CASE WHEN outcome = 'completed' THEN 10 * fence + 1 END
FROM chaos.attempts;
"""
_FIRST = UUID("00000000-0000-0000-0000-000000000001")


async def selftest(run: Run) -> None:
    """Plant a violation of every invariant."""
    run.report.method = "a history in good order, and a violation of each invariant planted into it"
    async with good_order(run) as (connection, other):
        run.report.broken(await violations(connection, peaceful=True))
        blind = [
            invariant.name
            for invariant in INVARIANTS
            if not await _seen(connection, invariant.name)
        ]
        if not await _open_transaction_seen(connection, other):
            blind.append("idle_in_transaction")
    run.report.broken(f"{name} does not see its own violation" for name in blind)
    run.report.figure("checks", len(INVARIANTS) + 1)
    run.report.figure("checks that are blind", len(blind), at_most=0)


@asynccontextmanager
async def good_order(run: Run) -> AsyncIterator[tuple[Connection, Connection]]:
    """Two sessions on a database in which all is well."""
    async with run.postgres.database() as name:
        connection = await asyncpg.connect(run.postgres.dsn(name))
        other = await asyncpg.connect(run.postgres.dsn(name))
        try:
            await connection.execute(history.INSTALL)
            await connection.execute(_GOOD_ORDER)
            yield connection, other
        finally:
            await connection.close()
            await other.close()


async def _seen(connection: Connection, name: str) -> bool:
    plant = next(invariant.plant for invariant in INVARIANTS if invariant.name == name)
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(plant, _FIRST)
        return name in {violation.name for violation in await violations(connection, peaceful=True)}
    finally:
        await transaction.rollback()


async def _open_transaction_seen(connection: Connection, other: Connection) -> bool:
    before = await idle_in_transaction(connection, seconds=0)
    async with other.transaction():
        await other.execute("SELECT 1")
        return before == 0 and await idle_in_transaction(connection, seconds=0) == 1
