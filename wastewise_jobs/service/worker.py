"""The worker and the maintenance of a process, as its settings say."""

from collections.abc import Callable
from datetime import timedelta

from wastewise_jobs.db.opening import Addresses
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.handlers.registry import Jobs
from wastewise_jobs.maintenance.checks import Thresholds, all_checks
from wastewise_jobs.maintenance.rounds import Maintenance
from wastewise_jobs.service.alerts import proxies_of
from wastewise_jobs.settings import Settings
from wastewise_jobs.workers.worker import Worker


def make_worker(
    settings: Settings,
    addresses: Addresses,
    pool: Pool,
    jobs: Jobs,
    *,
    queues: dict[str, int | None] | None = None,
    on_hung: Callable[[], object] = lambda: None,
) -> Worker:
    """A worker as the settings say; it runs nothing yet."""
    return Worker(
        pool=pool,
        dsn=addresses.direct,
        jobs=jobs,
        name=settings.worker_name,
        concurrency=settings.worker_concurrency,
        threads=settings.worker_threads,
        processes=settings.worker_processes,
        process_memory_bytes=settings.compute_memory_mb * 1024 * 1024,
        queues=queues,
        lease=timedelta(seconds=settings.lease_seconds),
        heartbeat_interval=timedelta(seconds=settings.heartbeat_seconds),
        poll_interval=timedelta(seconds=settings.poll_interval_seconds),
        shutdown_grace=timedelta(seconds=settings.shutdown_grace_seconds),
        notify=settings.notify_enabled,
        on_hung=on_hung,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )


def make_maintenance(settings: Settings, pool: Pool) -> Maintenance:
    """The rounds as the settings say; they run nothing yet."""
    on_round = None
    if settings.heartbeat_ping_url is not None:
        from wastewise_jobs.maintenance.ping import Ping

        on_round = Ping(
            settings.heartbeat_ping_url.get_secret_value(), proxies=proxies_of(settings)
        ).send
    thresholds = Thresholds(
        stuck_minutes=settings.job_stuck_threshold_minutes,
        error_rate=settings.error_rate_threshold,
        error_rate_jobs=settings.error_rate_minimum_jobs,
        silent_worker=timedelta(minutes=settings.worker_heartbeat_threshold_minutes),
        retention=timedelta(days=settings.job_retention_days),
    )
    return Maintenance(
        pool,
        all_checks(thresholds),
        interval=timedelta(seconds=settings.check_interval_seconds),
        jitter=timedelta(seconds=settings.check_jitter_seconds),
        on_round=on_round,
    )
