"""Numbers for admins: the queue, the workers, and the last days."""

import re
from datetime import timedelta
from typing import Annotated

from aiohttp import web
from pydantic import AfterValidator, Field, WithJsonSchema

from wastewise_jobs.monitoring.metrics import MetricsStore
from wastewise_jobs.monitoring.trends import MOST_BUCKETS, STEP, TrendStore
from wastewise_jobs.monitoring.workers import FleetStore
from wastewise_jobs.web.api import tags
from wastewise_jobs.web.http.caller import ADMIN
from wastewise_jobs.web.http.problems import INVALID_VALUE, ProblemError
from wastewise_jobs.web.http.route import Call, NoBody, NoParameters, Parameters, Route, answer
from wastewise_jobs.wire.monitoring import (
    MonitoringAnswer,
    QueueFigures,
    Throughput,
    TrendAnswer,
    TrendBucket,
    TrendHistory,
    WorkerDetails,
    WorkersAnswer,
    WorkersHealth,
)
from wastewise_jobs.wire.types import FieldProblem

_SPAN = re.compile(r"(\d{1,5})([mhd])", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_LONGEST = timedelta(days=400)


def _span(value: str) -> str:
    match = _SPAN.fullmatch(value)
    if match is None:
        raise ValueError("must be a number of minutes, hours or days such as 90m, 24h or 7d")
    span = _as_timedelta(value)
    if not STEP <= span <= _LONGEST or span % STEP:
        raise ValueError("must be a multiple of 15m, and 400d at most")
    return value


def _as_timedelta(span: str) -> timedelta:
    return int(span[:-1]) * _UNITS[span[-1]]


Span = Annotated[
    str,
    AfterValidator(_span),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,5}[mhd]$"}),
]


class TrendQuery(Parameters):
    """How far back, and in which steps."""

    window: Annotated[Span, Field(description="such as 24h or 7d; 400d at most")] = "24h"
    bucket: Annotated[Span, Field(description="a multiple of 15m")] = "15m"


class MonitoringResource:
    """The handlers that only read numbers."""

    def __init__(self, *, metrics: MetricsStore, fleet: FleetStore, trends: TrendStore) -> None:
        self._metrics = metrics
        self._fleet = fleet
        self._trends = trends

    async def queue(self, call: Call[NoParameters, NoParameters, NoBody]) -> web.StreamResponse:
        del call
        metrics = await self._metrics.queue_metrics()
        figures = QueueFigures.model_validate(metrics.figures)
        return answer(MonitoringAnswer(data=figures, timestamp=metrics.read_at))

    async def workers(self, call: Call[NoParameters, NoParameters, NoBody]) -> web.StreamResponse:
        """Who works, and whether work moves."""
        del call
        fleet = await self._fleet.fleet()
        data = WorkersHealth(
            status=fleet.status.value,
            reasons=fleet.reasons,
            active_workers=len(fleet.alive_ids),
            worker_ids=list(fleet.alive_ids),
            last_job_processed=fleet.last_job_at,
            minutes_since_last_job=fleet.minutes_since_last_job,
            jobs_processed_last_hour=fleet.last_hour,
            jobs_processed_last_day=fleet.last_day,
            throughput=Throughput(per_hour=fleet.last_hour, per_day=fleet.last_day),
            workers=[
                WorkerDetails.model_validate(worker, from_attributes=True)
                for worker in fleet.workers
            ],
        )
        return answer(WorkersAnswer(data=data, timestamp=fleet.read_at))

    async def trends(self, call: Call[NoParameters, TrendQuery, NoBody]) -> web.StreamResponse:
        window, bucket = _as_timedelta(call.query.window), _as_timedelta(call.query.bucket)
        if window / bucket > MOST_BUCKETS:
            problem = f"gives more than {MOST_BUCKETS} buckets of {call.query.bucket}"
            raise ProblemError(
                INVALID_VALUE,
                f"window: {problem}",
                field="window",
                errors=[FieldProblem(field="window", problem=problem)],
            )
        history = await self._trends.trends(window, bucket)
        data = TrendHistory(
            window=call.query.window,
            bucket=call.query.bucket,
            rolled_up_until=history.rolled_up_until,
            buckets=[
                TrendBucket.model_validate(point, from_attributes=True) for point in history.points
            ],
        )
        return answer(TrendAnswer(data=data, timestamp=history.read_at))


def routes(monitoring: MonitoringResource) -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            "/api/admin/jobs/monitoring",
            monitoring.queue,
            ADMIN,
            "The queue in numbers: what waits, what runs, what finished",
            answers={200: MonitoringAnswer},
            tag=tags.ADMIN,
        ),
        Route(
            "GET",
            "/api/admin/jobs/trends",
            monitoring.trends,
            ADMIN,
            "What finished, bucket by bucket; outlives the jobs themselves",
            answers={200: TrendAnswer},
            tag=tags.ADMIN,
        ),
        Route(
            "GET",
            "/api/admin/workers/health",
            monitoring.workers,
            ADMIN,
            "Who works, and whether the work moves",
            answers={200: WorkersAnswer},
            tag=tags.ADMIN,
        ),
    )
