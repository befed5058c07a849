"""What a job is: the rows as Python values. Pure data, no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NewType
from uuid import UUID

JobId = NewType("JobId", UUID)
UserId = NewType("UserId", UUID)
JsonObject = dict[str, Any]

DEFAULT_QUEUE = "default"
MOST_URGENT, LEAST_URGENT = 1, 10
MAX_RETRIES_LIMIT = 100
MAX_TIMEOUT = timedelta(days=7)


class Status(StrEnum):
    """pending → processing → completed, failed or cancelled."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Completed, failed or cancelled: nothing changes it but a requeue."""
        return self not in {Status.PENDING, Status.PROCESSING}


# With so many lost workers a job is failed; the functions of the migrations count them.
CRASHES = 3


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to enqueue. `input_json` is a JSON text that PostgreSQL can store.

    `priority` None lets the database assign one (with its reason); `run_at` delays the job
    until then, `delay_seconds` for so long by the database's clock.
    `idempotency_hash` is the SHA-256 of what the caller asked for and goes with the key.
    """

    id: JobId
    job_type: str
    input_json: str = "{}"
    user_id: UUID | None = None
    project_id: UUID | None = None
    priority: int | None = None
    priority_reason: str | None = None
    queue: str | None = None
    max_retries: int | None = None
    timeout_seconds: float | None = None
    run_at: datetime | None = None
    idempotency_key: str | None = None
    idempotency_hash: bytes | None = None
    delay_seconds: float | None = None


class Disposition(StrEnum):
    """What enqueueing did.

    The job is existing when the same key and the same request came before; in conflict when the
    key was used for another request.
    """

    CREATED = "created"
    EXISTING = "existing"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What became of one NewJob; in a conflict `id` is the job's that has its key."""

    id: JobId
    status: Status
    priority: int
    priority_reason: str | None
    created_at: datetime
    disposition: Disposition


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job under this worker's lease (`id`, `fence`). `input_json` is decoded by its own run."""

    id: JobId
    fence: int
    job_type: str
    queue: str
    user_id: UUID | None
    project_id: UUID | None
    input_json: str
    retry_count: int
    max_retries: int
    crash_count: int
    timeout_seconds: float | None
    priority: int
    created_at: datetime
    waited_seconds: float

    @property
    def attempt(self) -> int:
        """This run, counted from 1."""
        return self.retry_count + 1

    @property
    def on_last_chance(self) -> bool:
        """Whether one more crash of its worker fails it."""
        return self.crash_count >= CRASHES - 1


class RescuedAs(StrEnum):
    """Where a job went from a worker that is gone."""

    RESCUED = "rescued"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RetriedAs(StrEnum):
    """What a retry became; of one whose retries are exhausted nothing was changed."""

    RETRIED = "retried"
    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"


class Cancellation(StrEnum):
    """What became of the wish to cancel: done, asked of its worker, or too late."""

    CANCELLED = "cancelled"
    REQUESTED = "requested"
    FINISHED = "finished"


class Requeueing(StrEnum):
    """What became of the wish to send a job round again."""

    REQUEUED = "requeued"
    NOT_FAILED = "not_failed"


@dataclass(frozen=True, slots=True)
class RescuedJob:
    """A job taken from a worker that is gone."""

    id: JobId
    job_type: str
    worker_id: str | None
    crash_count: int
    settled: RescuedAs


@dataclass(frozen=True, slots=True)
class JobView:
    """Everything a reader may see of a job; None where nothing is known yet, or can be read."""

    id: JobId
    user_id: UUID | None
    project_id: UUID | None
    job_type: str
    queue: str
    status: Status
    priority: int
    priority_reason: str | None
    progress_percent: int
    current_step: str | None
    steps_completed: int
    total_steps: int | None
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    estimated_completion: datetime | None
    duration_seconds: float | None
    retry_after: datetime | None
    result: Any
    error_message: str | None
    error_code: str | None
    error_details: JsonObject | None
    retry_count: int
    max_retries: int
    crash_count: int
    retry_errors: Sequence[Mapping[str, Any]]
    ai_requests: int
    ai_tokens_input: int
    ai_tokens_output: int
    ai_cost_usd: float | None
    worker_id: str | None
    cancel_requested_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a list shows; `user_id` None means everybody's (admins only)."""

    user_id: UUID | None = None
    statuses: Sequence[Status] = ()
    job_type: str | None = None
    project_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class AiUsage:
    """What a run spent on AI services: requests, tokens and US dollars."""

    requests: int = 0
    tokens_input: int = 0
    tokens_output: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: percent 0..100, the step's name, and the counts of named steps."""

    percent: int
    step: str | None = None
    steps_completed: int | None = None
    total_steps: int | None = None


@dataclass(frozen=True, slots=True)
class JobTypeInfo:
    """What the database knows about a job type, so that any process can validate its jobs.

    `refusal` is set for a type that is known but cannot be enqueued here, and says what an
    operator must do about it.
    """

    job_type: str
    queue: str = DEFAULT_QUEUE
    priority: int = 5
    timeout_seconds: float = 600.0
    max_retries: int = 3
    run_in: str = "loop"
    description: str = ""
    input_schema: JsonObject = field(default_factory=dict)
    needs_project: bool = False
    refusal: str | None = None
    admin_only: bool = False
