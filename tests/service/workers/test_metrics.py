"""What a worker counts, as Prometheus reads it."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tests.support.waiting import eventually
from tests.support.workers import bench
from tests.web.test_metrics import well_named
from wastewise_jobs import JobContext, Jobs, PermanentError
from wastewise_jobs.workers.metrics import worker_metrics
from wastewise_jobs.workers.stats import BOUNDS, Histogram
from wastewise_jobs.workers.worker import Worker


def figures(worker: Worker) -> dict[str, Metric]:
    class Source(Collector):
        def collect(self) -> list[Metric]:
            return list(worker_metrics(worker))

    registry = CollectorRegistry()
    registry.register(Source())
    text = generate_latest(registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(family: Metric, name: str, **labels: str) -> float:
    (found,) = [s.value for s in family.samples if s.name == name and s.labels == labels]
    return found


async def test_a_worker_tells_what_became_of_its_jobs_and_how_long_they_took(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("good")
    async def good(job: JobContext) -> None:
        pass

    @jobs.handler("bad")
    async def bad(job: JobContext) -> None:
        raise PermanentError("NO", "no")

    @jobs.handler("again")
    async def again(job: JobContext) -> None:
        raise TimeoutError

    async with bench(db, jobs) as b, b.worker() as worker:
        for handler, status in ((good, "completed"), (bad, "failed")):
            enqueued = await handler.enqueue()
            await b.until(enqueued.id, status)
        await again.enqueue()
        await eventually(lambda: worker.stats.retried == 1)
        await eventually(lambda: worker.stats.completed_by_type)
        found = figures(worker)
    assert list(well_named(found)) == []
    done = found["wastewise_jobs"]
    assert value(done, "wastewise_jobs_total", job_type="good", outcome="completed") == 1
    assert value(done, "wastewise_jobs_total", job_type="bad", outcome="failed") == 1
    assert value(done, "wastewise_jobs_total", job_type="again", outcome="retried") == 1
    retries = found["wastewise_job_retries"]
    assert value(retries, "wastewise_job_retries_total", failure_kind="retryable") == 1
    for name in ("wastewise_job_wait_seconds", "wastewise_job_run_seconds"):
        for job_type in ("good", "bad", "again"):
            assert value(found[name], f"{name}_count", job_type=job_type) == 1
            assert value(found[name], f"{name}_bucket", job_type=job_type, le="+Inf") == 1
    assert value(found["wastewise_jobs_claimed"], "wastewise_jobs_claimed_total") == 3
    assert value(found["wastewise_leases_lost"], "wastewise_leases_lost_total") == 0
    assert {
        "wastewise_jobs_rescued",
        "wastewise_listener_reconnects",
        "wastewise_loop_lag_seconds",
        "wastewise_worker_slots",
    } <= set(found)


def test_a_duration_falls_into_the_bin_that_holds_it() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[-1], BOUNDS[-1] + 1):
        histogram.observe(seconds)
    assert histogram.counts[0] == 2
    assert histogram.counts[1] == 1
    assert histogram.counts[-2:] == [1, 1]
    assert len(histogram.counts) == len(BOUNDS) + 1
