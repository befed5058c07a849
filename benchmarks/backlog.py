"""What a million other rows do to the rate at which jobs are claimed and completed."""

import time
from contextlib import AsyncExitStack
from datetime import timedelta

from benchmarks.peer import OURS
from benchmarks.server import Server
from wastewise_jobs.db.pool import create_pool
from wastewise_jobs.jobs.ids import new_job_id
from wastewise_jobs.jobs.model import NewJob
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.jobs.store import JobStore

BATCH = 500
_LEASE = timedelta(seconds=60)
# Our own row triggers would keep the queue in step row by row; here both tables are filled.
_FILL = """
BEGIN;
SELECT set_config('wastewise.transition_0', i.transition_key, true) FROM schema_info i;
CREATE TEMPORARY TABLE filler ON COMMIT DROP AS
SELECT uuidv7() AS id, clock_timestamp() + n * interval '1 microsecond' AS created_at
FROM generate_series(1, {rows}) AS n;
INSERT INTO analysis_jobs (
    id, job_type, queue, status, input_data, priority, max_retries, created_at, retry_after,
    started_at, completed_at
)
SELECT id, 'noop', 'default', '{status}', '{{"note": "one of very many"}}', 5, 3, created_at,
    {retry_after}, {ended}, {ended}
FROM filler;
{queue}
COMMIT;
"""
_QUEUE = """
INSERT INTO job_queue (id, queue, job_type, priority, created_at, retry_after, due, fence)
SELECT f.id, 'default', 'noop', 5, f.created_at, {retry_after}, {due}, 0 FROM filler f;
"""
_FUTURE = "now() + interval '1 day'"
KINDS = {
    "empty": None,
    "pending": _FILL.format(
        rows="{rows}",
        status="pending",
        retry_after="NULL",
        ended="NULL",
        queue=_QUEUE.format(retry_after="NULL", due="true"),
    ),
    "future": _FILL.format(
        rows="{rows}",
        status="pending",
        retry_after=_FUTURE,
        ended="NULL",
        queue=_QUEUE.format(retry_after=_FUTURE, due="false"),
    ),
    "finished": _FILL.format(
        rows="{rows}",
        status="completed",
        retry_after="NULL",
        ended="now()",
        queue="",
    ),
}


async def backlog(server: Server, rows: int, jobs: int, rounds: int) -> dict[str, list[float]]:
    """Jobs claimed and completed per second, round by round, beside each kind of backlog."""
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    async with AsyncExitStack() as stack:
        stores = {}
        for kind, fill in KINDS.items():
            name = await stack.enter_async_context(server.database(OURS))
            pool = await stack.enter_async_context(
                await create_pool(server.address(name), max_size=2, command_timeout=600)
            )
            if fill:
                await pool.execute(fill.replace("{rows}", str(rows)))
            await pool.execute("VACUUM ANALYZE analysis_jobs, job_queue")
            stores[kind] = (pool, JobStore(pool))
        for _ in range(rounds):
            for kind, (pool, store) in stores.items():
                # The pending ones are the work themselves.
                for _ in range(0 if kind == "pending" else jobs // BATCH):
                    await store.enqueue(
                        [NewJob(id=new_job_id(), job_type="noop") for _ in range(BATCH)]
                    )
                await pool.execute("CHECKPOINT")
                began = time.perf_counter()
                for _ in range(jobs // BATCH):
                    claimed = await store.claim("bench", None, ["noop"], BATCH, _LEASE)
                    assert len(claimed) == BATCH
                    done = await store.complete([(job, Completed()) for job in claimed])
                    assert len(done) == BATCH
                rates[kind].append(jobs / (time.perf_counter() - began))
    return rates
