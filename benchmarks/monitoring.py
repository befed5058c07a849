"""What each monitoring read takes beside a million finished jobs and a long queue."""

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from benchmarks.peer import OURS
from benchmarks.server import Server
from wastewise_jobs.db.pool import create_pool
from wastewise_jobs.monitoring.metrics import MetricsStore
from wastewise_jobs.monitoring.prometheus import Exposition
from wastewise_jobs.monitoring.trends import TrendStore
from wastewise_jobs.monitoring.workers import FleetStore

READS = 200
# All within a day, of four types, one in fifty failed: the hour and the day are full of them.
_FINISHED = """
INSERT INTO analysis_jobs (
    id, job_type, status, queue, priority, max_retries, created_at, started_at, completed_at,
    failed_at, duration_seconds
)
SELECT
    gen_random_uuid(), 'type_' || n % 4, s.status, 'default', 5, 3,
    t.at - interval '3 seconds', t.at - interval '1 second', t.at,
    CASE WHEN s.status = 'failed' THEN t.at END, random()
FROM generate_series(1, $1::integer) AS n
CROSS JOIN LATERAL (
    SELECT now() - interval '1 minute' - n * (interval '23 hours' / $1) AS at
) AS t
CROSS JOIN LATERAL (
    SELECT CASE n % 50 WHEN 0 THEN 'failed' ELSE 'completed' END AS status
) AS s
"""
_PENDING = """
WITH filler AS (
    INSERT INTO analysis_jobs (id, job_type, status, queue, priority, max_retries)
    SELECT gen_random_uuid(), 'type_' || n % 4, 'pending', 'default', 1 + n % 10, 3
    FROM generate_series(1, $1::integer) AS n
    RETURNING id, job_type, priority, created_at
)
INSERT INTO job_queue (id, queue, job_type, priority, created_at, due, fence)
SELECT f.id, 'default', f.job_type, f.priority, f.created_at, true, 0 FROM filler f
"""


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds."""

    p50: float
    p95: float


async def monitoring(server: Server, *, finished: int, pending: int) -> dict[str, Times]:
    """p50 and p95 of each read; the reads take turns, because the machine drifts."""
    async with (
        server.database(OURS) as name,
        create_pool(server.address(name), max_size=2, command_timeout=600) as pool,
    ):
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "SELECT set_config('wastewise.transition_0', i.transition_key, true) "
                "FROM schema_info i"
            )
            await connection.execute(_FINISHED, finished)
            await connection.execute(_PENDING, pending)
        await pool.execute("VACUUM ANALYZE")
        while await pool.fetchval("SELECT roll_up_jobs()"):
            pass
        await pool.execute("CHECKPOINT")
        metrics, fleet, trends = MetricsStore(pool), FleetStore(pool), TrendStore(pool)
        exposition = Exposition(pool)

        async def scrape() -> object:
            exposition._read_at = float("-inf")
            return await exposition.text()

        day, week, quarter = timedelta(days=1), timedelta(days=7), timedelta(minutes=15)
        reads: dict[str, Callable[[], Awaitable[object]]] = {
            "GET /api/admin/jobs/monitoring": metrics.queue_metrics,
            "GET /api/admin/workers/health": fleet.fleet,
            "GET /api/admin/jobs/trends?window=24h&bucket=15m": lambda: trends.trends(day, quarter),
            "GET /api/admin/jobs/trends?window=7d&bucket=1h": lambda: trends.trends(
                week, timedelta(hours=1)
            ),
            "GET /metrics": scrape,
            "calculate_error_rate('1 hour')": lambda: pool.fetchval(
                "SELECT calculate_error_rate()"
            ),
            "detect_stuck_jobs(30)": lambda: pool.fetch("SELECT * FROM detect_stuck_jobs()"),
            "roll_up_jobs() with nothing new": lambda: pool.fetchval("SELECT roll_up_jobs()"),
        }
        taken: dict[str, list[float]] = {read: [] for read in reads}
        for turn in range(READS + 10):
            for what, read in reads.items():
                began = time.perf_counter()
                await read()
                if turn >= 10:
                    taken[what].append((time.perf_counter() - began) * 1000)
    return {
        what: Times(statistics.median(times), statistics.quantiles(times, n=20)[-1])
        for what, times in taken.items()
    }
