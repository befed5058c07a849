"""Jobs and their types."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from wastewise_jobs.wire.types import (
    AnswerModel,
    JsonObject,
    Line,
    Moment,
    Pagination,
    RequestModel,
    WireUuid,
)

MAX_INPUT_BYTES = 256 * 1024

JobStatus = Literal["pending", "processing", "completed", "failed", "cancelled"]
# Any short name: one that does not exist is answered with the list of those that do.
JobTypeName = Annotated[Line, Field(min_length=1, max_length=200)]
IdempotencyKey = Annotated[Line, Field(min_length=1, max_length=255)]


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
