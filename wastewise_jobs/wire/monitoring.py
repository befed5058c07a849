"""The queue, the workers and the trends in numbers."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict

from wastewise_jobs.wire.types import AnswerModel


class QueueShare(AnswerModel):
    """Unfinished jobs of one queue or job type."""

    pending: int
    processing: int


class QueueFigures(AnswerModel):
    """The queue in numbers, by names that dashboards know. Rates are percent, times seconds.

    `by_priority` counts pending jobs; of dead letters at most 1,000 are counted.
    """

    model_config = ConfigDict(alias_generator=None)

    total_pending: int
    total_processing: int
    total_failed_today: int
    total_completed_today: int
    by_priority: dict[str, int]
    avg_duration_seconds: float
    error_rate_1h: float
    error_rate_24h: float
    stuck_jobs: int
    oldest_due_seconds: float | None
    due: int
    scheduled: int
    dead_letters: int
    alerts_open: int
    alerts_undelivered: int
    by_job_type: dict[str, QueueShare]
    by_queue: dict[str, QueueShare]
    throughput_per_minute: float


class MonitoringAnswer(AnswerModel):
    """The queue now."""

    success: bool = True
    data: QueueFigures
    timestamp: datetime


class WorkerDetails(AnswerModel):
    """One worker process, as its last heartbeat described it."""

    worker_id: str
    name: str
    host: str
    pid: int
    version: str
    queues: list[str]
    concurrency: int
    running: int
    started_at: datetime
    last_heartbeat_at: datetime
    cpu_percent: float | None
    memory_bytes: int | None
    loop_lag_seconds: float | None
    draining: bool
    alive: bool


class Throughput(AnswerModel):
    """Jobs that completed or failed within the last hour and day."""

    per_hour: int
    per_day: int


class WorkersHealth(AnswerModel):
    """Whether anybody works, and whether work moves; `reasons` says what is wrong, a line each."""

    status: Literal["healthy", "degraded", "unhealthy"]
    reasons: list[str]
    active_workers: int
    worker_ids: list[str]
    last_job_processed: datetime | None
    minutes_since_last_job: float | None
    jobs_processed_last_hour: int
    jobs_processed_last_day: int
    throughput: Throughput
    workers: list[WorkerDetails]


class WorkersAnswer(AnswerModel):
    """The workers now."""

    success: bool = True
    data: WorkersHealth
    timestamp: datetime


class TrendBucket(AnswerModel):
    """What finished of one job type in one bucket; times are seconds, at most 15 % off."""

    bucket_at: datetime
    job_type: str
    completed: int
    failed: int
    cancelled: int
    retried: int
    wait_p50: float | None
    wait_p95: float | None
    run_p50: float | None
    run_p95: float | None


class TrendHistory(AnswerModel):
    """The buckets in order of time; what finished after `rolledUpUntil` is not in them yet."""

    window: str
    bucket: str
    rolled_up_until: datetime | None
    buckets: list[TrendBucket]


class TrendAnswer(AnswerModel):
    """The last days."""

    success: bool = True
    data: TrendHistory
    timestamp: datetime
