"""The counters of a worker as Prometheus knows them."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from wastewise_jobs.workers.stats import BOUNDS, Histogram
from wastewise_jobs.workers.worker import Worker

_TOTALS = {
    "wastewise_jobs_claimed": ("Jobs that this worker has claimed.", "claimed"),
    "wastewise_jobs_released": ("Jobs that were handed back unrun or cut short.", "released"),
    "wastewise_jobs_rescued": ("Jobs that this worker took from workers that are gone.", "rescued"),
    "wastewise_leases_lost": (
        "Outcomes that were dropped: another worker had the job.",
        "lease_lost",
    ),
    "wastewise_job_timeouts": ("Runs that did not end within their timeout.", "timeouts"),
    "wastewise_claim_errors": ("Claims that failed.", "claim_errors"),
    "wastewise_heartbeat_errors": ("Renewals of leases that failed.", "heartbeat_errors"),
}


def worker_metrics(worker: Worker) -> Iterator[Metric]:
    """Everything that this worker has counted since it started, and how it is now."""
    stats = worker.stats
    jobs = CounterMetricFamily(
        "wastewise_jobs", "Runs by what they came to.", labels=["job_type", "outcome"]
    )
    for outcome, by_type in (
        ("completed", stats.completed_by_type),
        ("failed", stats.failed_by_type),
        ("retried", stats.retried_by_type),
        ("cancelled", stats.cancelled_by_type),
    ):
        for job_type, count in sorted(by_type.items()):
            jobs.add_metric([job_type, outcome], count)
    yield jobs
    retries = CounterMetricFamily(
        "wastewise_job_retries", "Attempts that are to be repeated.", labels=["failure_kind"]
    )
    for kind, count in sorted(stats.retried_by_kind.items()):
        retries.add_metric([kind], count)
    yield retries
    for name, (text, attribute) in _TOTALS.items():
        yield CounterMetricFamily(name, text, value=getattr(stats, attribute))
    yield _histogram(
        "wastewise_job_wait_seconds",
        "From creation to the claim of a first attempt.",
        stats.wait_seconds,
    )
    yield _histogram(
        "wastewise_job_run_seconds",
        "From the start of a run to the durable record of its outcome.",
        stats.run_seconds,
    )
    yield from _now(worker)


def _now(worker: Worker) -> Iterable[Metric]:
    slots = GaugeMetricFamily(
        "wastewise_worker_slots", "Slots by lane and use.", labels=["lane", "use"]
    )
    for lane in worker.lanes:
        slots.add_metric([lane.name, "free"], max(lane.free, 0))
        slots.add_metric([lane.name, "taken"], lane.capacity - max(lane.free, 0))
    return (
        slots,
        GaugeMetricFamily(
            "wastewise_worker_running_jobs", "Jobs claimed and not settled.", worker.running
        ),
        GaugeMetricFamily(
            "wastewise_worker_stuck_handlers", "Handlers that do not end.", worker.stuck
        ),
        GaugeMetricFamily(
            "wastewise_loop_lag_seconds",
            "How late the worker's event loop answered last.",
            worker.loop_lag_seconds,
        ),
        GaugeMetricFamily(
            "wastewise_listener_connected", "1 while notifications arrive.", int(worker.listening)
        ),
        CounterMetricFamily(
            "wastewise_listener_reconnects",
            "How often notifications were lost and came back.",
            value=worker.listener_reconnects,
        ),
    )


def _histogram(name: str, text: str, by_type: Mapping[str, Histogram]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=["job_type"])
    for job_type, histogram in sorted(by_type.items()):
        below, buckets = 0, []
        for bound, count in zip(
            (*map(str, map(float, BOUNDS)), "+Inf"), histogram.counts, strict=True
        ):
            below += count
            buckets.append((bound, below))
        family.add_metric([job_type], buckets, sum_value=histogram.total_seconds)
    return family
