"""The bodies of the HTTP API as pydantic models, shared by the server and the client.

Names are camelCase on the wire. Requests are strict and refuse unknown fields: a mistyped option
must never be dropped in silence. Answers are lenient, so that a client survives a newer server.
"""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

MAX_INPUT_BYTES = 256 * 1024
MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_PAGE = 200
DEFAULT_PAGE = 50
EARLIEST_YEAR, LATEST_YEAR = 1970, 2999

JobStatus = Literal["pending", "processing", "completed", "failed", "cancelled"]
FileType = Literal["invoice", "haul_log", "contract", "csv", "other"]
Scope = Literal["read", "write", "admin"]

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def _uuid(value: object) -> object:
    if isinstance(value, UUID):
        return value
    # UUID() itself also takes braces, urn: and missing hyphens.
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError("must be a UUID such as 7b0f9a52-3c1d-4e8f-9a6b-2d5e8c1f0a37")
    return UUID(value)


def _moment(value: object) -> object:
    if isinstance(value, str):
        if not _RFC3339.fullmatch(value):
            raise ValueError("must be an RFC 3339 time with an offset, 2026-01-31T08:00:00+01:00")
        try:
            value = datetime.fromisoformat(value.upper())
        except ValueError as error:
            raise ValueError(f"is no such time: {error}") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("must be an RFC 3339 time with an offset")
    try:
        moment = value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the calendar") from None
    # PostgreSQL would keep the very first moment as -infinity, with which it cannot reckon.
    if moment.year < EARLIEST_YEAR:
        raise ValueError(f"must not be before the year {EARLIEST_YEAR}")
    if moment.year > LATEST_YEAR:
        raise ValueError(f"must not be after the year {LATEST_YEAR}")
    return moment


def _plain_line(value: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value):
        raise ValueError("must not hold control characters or line breaks")
    if value != value.strip():
        raise ValueError("must not begin or end with blanks")
    return value


class _AnyCase:
    """Accepts one of a few names in any case and gives the canonical one."""

    def __init__(self, *names: str) -> None:
        self._canonical = {name.lower(): name for name in names}

    def __call__(self, value: object) -> object:
        if isinstance(value, str):
            return self._canonical.get(value.lower(), value)
        return value


WireUuid = Annotated[
    UUID, BeforeValidator(_uuid), WithJsonSchema({"type": "string", "format": "uuid"})
]
Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
Line = Annotated[str, AfterValidator(_plain_line)]
# Any short name: one that does not exist is answered with the list of those that do.
JobTypeName = Annotated[Line, Field(min_length=1, max_length=200)]
IdempotencyKey = Annotated[Line, Field(min_length=1, max_length=255)]
JsonObject = Annotated[dict[str, Any], Field(default_factory=dict)]
PropertyType = Annotated[
    Literal["Garden-Style", "Mid-Rise", "High-Rise"],
    BeforeValidator(_AnyCase("Garden-Style", "Mid-Rise", "High-Rise")),
]
EquipmentType = Annotated[
    Literal["COMPACTOR", "DUMPSTER", "MIXED"],
    BeforeValidator(_AnyCase("COMPACTOR", "DUMPSTER", "MIXED")),
]


class RequestModel(BaseModel):
    """A body that a client sends."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
    )


class AnswerModel(BaseModel):
    """A body that the server sends."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
    )


class AnalyzeRequest(RequestModel):
    """A job to create. `inputData` is checked against the schema of the job type."""

    job_type: JobTypeName
    project_id: WireUuid | None = None
    input_data: JsonObject
    priority: Annotated[int, Field(ge=1, le=10)] | None = Field(
        None, description="1 is the most urgent; assigned by the kind of work when absent"
    )
    idempotency_key: IdempotencyKey | None = Field(
        None, description="or the Idempotency-Key header"
    )
    max_retries: Annotated[int, Field(ge=0, le=100)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=604_800)] | None = None
    run_at: Moment | None = Field(None, description="not before this time, RFC 3339 with offset")


class AnalyzeAnswer(AnswerModel):
    """The job that was created, or the one that the same key created before."""

    job_id: UUID
    status: JobStatus
    priority: int
    priority_reason: str | None
    message: str


class JobProgress(AnswerModel):
    """How far the run is."""

    percent: int
    current_step: str | None
    steps_completed: int
    total_steps: int | None


class JobTiming(AnswerModel):
    """When what happened; null where it has not, or where no calendar holds what is stored."""

    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    estimated_completion: datetime | None
    duration_seconds: float | None
    retry_after: datetime | None


class JobError(AnswerModel):
    """Why the last attempt did not succeed."""

    message: str
    code: str | None
    details: dict[str, Any] | None


class RetryInfo(AnswerModel):
    """The attempts that failed before."""

    retry_count: int
    max_retries: int
    errors: list[dict[str, Any]]


class AiUsage(AnswerModel):
    """What the job spent on AI services."""

    requests: int
    tokens_input: int
    tokens_output: int
    cost_usd: float | None


class JobSummary(AnswerModel):
    """Everything about one job but its result, which may be large."""

    id: UUID
    project_id: UUID | None
    job_type: str
    status: JobStatus
    priority: int
    priority_reason: str | None
    progress: JobProgress
    timing: JobTiming
    error: JobError | None
    retry_info: RetryInfo
    ai_usage: AiUsage
    worker_id: str | None
    updated_at: datetime | None


class JobAnswer(JobSummary):
    """Everything about one job."""

    result: Any


class Pagination(AnswerModel):
    """Where a list goes on: give `nextCursor` as `cursor` to read the next page."""

    limit: int
    has_more: bool
    next_cursor: str | None


class JobList(AnswerModel):
    """One page of jobs, newest first."""

    jobs: list[JobSummary]
    pagination: Pagination


class CancelAnswer(AnswerModel):
    """`status` is cancelled, or still processing while the worker is asked to stop."""

    job_id: UUID
    status: JobStatus
    message: str


class RetryAnswer(AnswerModel):
    """The failed job is pending again."""

    job_id: UUID
    status: JobStatus
    message: str


class JobRow(AnswerModel):
    """One row that an extraction read."""

    position: int
    data: Any


class JobRows(AnswerModel):
    """One page of extracted rows, in order."""

    rows: list[JobRow]
    pagination: Pagination


class ProjectRequest(RequestModel):
    """A property whose waste costs are to be analysed."""

    property_name: Annotated[Line, Field(min_length=1, max_length=200)]
    units: Annotated[int, Field(ge=10, le=2000)]
    city: Annotated[Line, Field(min_length=1, max_length=100)]
    state: Annotated[Line, Field(min_length=1, max_length=50)]
    property_type: PropertyType | None = None
    equipment_type: EquipmentType
    containers: Annotated[int, Field(ge=1, le=1000)] | None = None
    container_yards: Annotated[float, Field(gt=0, le=100)] | None = None
    pickups_per_week: Annotated[float, Field(gt=0, le=50)] | None = None


class ProjectAnswer(AnswerModel):
    """A property. Fields of rows that the existing front end wrote may be null."""

    id: UUID
    property_name: str
    units: int
    city: str
    state: str
    property_type: str | None
    equipment_type: str | None
    containers: int | None
    container_yards: float | None
    pickups_per_week: float | None
    status: str
    created_at: datetime


class ProjectDetails(ProjectAnswer):
    """A property with what its last analysis found."""

    progress: int
    total_savings: float | None
    error_message: str | None
    updated_at: datetime | None


class ProjectList(AnswerModel):
    """One page of properties, newest first."""

    projects: list[ProjectDetails]
    pagination: Pagination


class FileAnswer(AnswerModel):
    """A file of a project."""

    id: UUID
    file_name: str
    file_type: str
    file_size: int | None
    uploaded_at: datetime


class FileList(AnswerModel):
    """The files of a project, by name."""

    files: list[FileAnswer]


class KeyRequest(RequestModel):
    """An API key to make. It acts as `userId`, limited to `scopes`."""

    user_id: WireUuid
    name: Annotated[Line, Field(max_length=100)] = ""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)]
    expires_at: Moment | None = None


class KeyAnswer(AnswerModel):
    """An API key without its secret."""

    id: UUID
    public_id: str
    user_id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeyMade(KeyAnswer):
    """A new API key; `key` is shown this once and kept nowhere."""

    key: str


class KeyList(AnswerModel):
    """API keys, newest first."""

    keys: list[KeyAnswer]


class JobTypeAnswer(AnswerModel):
    """What is known about a job type."""

    job_type: str
    queue: str
    priority: int
    timeout_seconds: float
    max_retries: int
    run_in: str
    description: str
    input_schema: dict[str, Any]
    needs_project: bool
    admin_only: bool
    refusal: str | None


class JobTypeList(AnswerModel):
    """Every job type that can be asked for."""

    job_types: list[JobTypeAnswer]


class HealthAnswer(AnswerModel):
    """`status` in one word, and each part in a few."""

    status: str
    checks: dict[str, str]


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


class FieldProblem(AnswerModel):
    """What is wrong with one field."""

    field: str
    problem: str


class Problem(AnswerModel):
    """RFC 9457 problem details. `code` is stable; `detail` is for people and may change."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    instance: str | None = None
    field: str | None = None
    errors: list[FieldProblem] | None = None
    quota: str | None = None
    limit: int | None = None
    used: int | None = None
