"""All numbers as text for Prometheus: what the database knows, and what this process counts.

The registry is our own, so that nothing of other libraries gets in. What the database knows every
process says alike: take the maximum over instances, never the sum.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

import asyncpg
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from wastewise_jobs.db import trouble
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.logs import get_logger
from wastewise_jobs.monitoring.metrics import Depth
from wastewise_jobs.monitoring.reading import READ_SECONDS, bounded_read

log = get_logger(__name__)

# Whoever asks more often gets the same figures again.
_REMEMBERED_SECONDS = 1.0

_DEPTHS = """
SELECT
    queue,
    priority,
    state,
    sum(jobs)::bigint AS jobs,
    extract(epoch FROM now() - min(oldest_due_at))::float8 AS oldest_due_seconds
FROM public.queue_depths()
GROUP BY queue, priority, state
ORDER BY queue, priority, state
"""
_ALERTS = """
SELECT alert_type, severity, acknowledged_at IS NOT NULL AS acknowledged, count(*) AS alerts
FROM public.job_alerts
WHERE resolved_at IS NULL
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
"""
_REST = """
SELECT
    public.undelivered_alerts() AS undelivered,
    (SELECT count(*) FROM public.job_workers w WHERE w.kind = 'worker') AS workers,
    (
        SELECT extract(epoch FROM now() - s.rolled_up_until)::float8 FROM public.schema_info s
    ) AS rollup_age_seconds,
    (SELECT s.jobs_repaired FROM public.schema_info s) AS repaired,
    (SELECT s.jobs_astray FROM public.schema_info s) AS astray
"""


class Exposition(Collector):
    """`sources` give what this process counts; they are asked at every scrape and never wait."""

    def __init__(self, pool: Pool, sources: Sequence[Callable[[], Iterable[Metric]]] = ()) -> None:
        self._pool = pool
        self._sources = (*sources, self._pool_figures)
        self._reading = asyncio.Lock()
        self._known: list[Metric] = []
        self._read_at = float("-inf")
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    async def text(self) -> bytes:
        """The exposition; without what the database knows while that cannot be reached."""
        async with self._reading:
            if time.monotonic() - self._read_at > _REMEMBERED_SECONDS:
                self._known = await self._read()
                self._read_at = time.monotonic()
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: figures come and go with what there is."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        yield from self._known
        for source in self._sources:
            yield from source()
        build = GaugeMetricFamily("wastewise_build", "1; says what runs.", labels=["version"])
        build.add_metric([_version()], 1)
        yield build

    async def _read(self) -> list[Metric]:
        try:
            async with asyncio.timeout(READ_SECONDS), bounded_read(self._pool) as connection:
                depths = [Depth(**dict(row)) for row in await connection.fetch(_DEPTHS)]
                alerts = await connection.fetch(_ALERTS)
                rest = await connection.fetchrow(_REST)
        except trouble.ERRORS as error:
            log.warning("metrics_without_database", error=type(error).__name__)
            return [_gauge("wastewise_database_up", "1 while the database answers.", 0)]
        return [
            _gauge("wastewise_database_up", "1 while the database answers.", 1),
            *_depth_figures(depths),
            *_alert_figures(alerts),
            *_other_figures(rest),
        ]

    def _pool_figures(self) -> Iterator[Metric]:
        pool = self._pool
        connections = GaugeMetricFamily(
            "wastewise_pool_connections", "Connections of the pool by use.", labels=["use"]
        )
        connections.add_metric(["idle"], pool.get_idle_size())
        connections.add_metric(["busy"], pool.get_size() - pool.get_idle_size())
        yield connections
        yield _gauge(
            "wastewise_pool_connections_max", "What the pool may open.", pool.get_max_size()
        )


def _depth_figures(depths: Sequence[Depth]) -> Iterator[Metric]:
    jobs = GaugeMetricFamily(
        "wastewise_queue_jobs",
        "Unfinished jobs by queue, priority and state (due, scheduled, processing).",
        labels=["queue", "priority", "state"],
    )
    oldest: dict[str, float] = {}
    for depth in depths:
        jobs.add_metric([depth.queue, str(depth.priority), depth.state], depth.jobs)
        age = depth.oldest_due_seconds or 0.0
        oldest[depth.queue] = max(oldest.get(depth.queue, 0.0), age)
    yield jobs
    ages = GaugeMetricFamily(
        "wastewise_queue_oldest_due_seconds",
        "How long the job that waits longest has been due, by queue.",
        labels=["queue"],
    )
    for queue, age in oldest.items():
        ages.add_metric([queue], age)
    yield ages


def _alert_figures(rows: Sequence[asyncpg.Record]) -> Iterator[Metric]:
    alerts = GaugeMetricFamily(
        "wastewise_alerts_open",
        "Alerts that are not resolved.",
        labels=["alert_type", "severity", "acknowledged"],
    )
    for row in rows:
        acknowledged = "true" if row["acknowledged"] else "false"
        alerts.add_metric([row["alert_type"], row["severity"], acknowledged], row["alerts"])
    yield alerts


def _other_figures(row: asyncpg.Record | None) -> Iterator[Metric]:
    if row is None:
        return
    yield _gauge(
        "wastewise_alerts_undelivered",
        "Alerts with a channel that the last notice was given up for.",
        row["undelivered"],
    )
    yield _gauge(
        "wastewise_workers_registered",
        "Worker processes that have not said goodbye.",
        row["workers"],
    )
    yield CounterMetricFamily(
        "wastewise_jobs_repaired",
        "Rows of the queue that disagreed with their jobs and were put right.",
        value=row["repaired"],
    )
    yield _gauge(
        "wastewise_jobs_astray",
        "Jobs that disagree with their rows of the queue and could not be put right in a round.",
        row["astray"],
    )
    if row["rollup_age_seconds"] is not None:
        yield _gauge(
            "wastewise_rollup_age_seconds",
            "How far the counting of finished jobs is behind; grows when nobody makes the checks.",
            row["rollup_age_seconds"],
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _version() -> str:
    try:
        return version("wastewise-jobs")
    except PackageNotFoundError:
        return "unknown"
