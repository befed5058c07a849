"""What an alert is, and what is said about it to whom. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NewType, Protocol
from uuid import UUID

from wastewise_jobs.alert_names import EMAIL, PAGERDUTY, SLACK, AlertType

AlertId = NewType("AlertId", UUID)


class Notice(StrEnum):
    """What a channel is told about an alert."""

    RAISED = "raised"
    REMINDER = "reminder"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


DEFAULT_ROUTES: Mapping[str, tuple[str, ...]] = {
    AlertType.JOB_FAILED: (EMAIL, SLACK),
    AlertType.JOB_STUCK: (EMAIL,),
    AlertType.HIGH_ERROR_RATE: (EMAIL, SLACK, PAGERDUTY),
    AlertType.WORKER_DOWN: (EMAIL, SLACK),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One cause; `details` are what was seen last, `occurrences` how often."""

    id: AlertId
    job_id: UUID | None
    alert_type: str
    severity: str
    status: str
    message: str
    details: Mapping[str, Any]
    occurrences: int
    created_at: datetime
    last_seen_at: datetime
    notified_at: datetime | None = None
    channels: Sequence[str] = ()
    undelivered: Sequence[str] = ()
    acknowledged_at: datetime | None = None
    acknowledged_by: UUID | None = None
    acknowledged_note: str | None = None
    snoozed_until: datetime | None = None
    resolved_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOfAlert:
    """What whoever has an alert's message may know of its job: neither input nor result."""

    id: UUID
    job_type: str
    status: str
    queue: str
    priority: int
    retry_count: int
    max_retries: int
    crash_count: int
    progress_percent: float | None
    current_step: str | None
    error_code: str | None
    error_message: str | None
    worker_id: str | None
    user_id: UUID | None
    project_id: UUID | None
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    retry_after: datetime | None
    duration_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One thing that happened to an alert."""

    event: str
    channel: str | None
    actor: str | None
    note: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFilter:
    """Which alerts are listed; empty means all."""

    statuses: Sequence[str] = ()
    alert_type: str | None = None
    severity: str | None = None
    job_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """The right to record what became of a delivery."""

    alert_id: AlertId
    fence: int
    round: int
    notice: Notice
    digest: bool


@dataclass(frozen=True, slots=True)
class Told:
    """An alert and what is to be said about it."""

    alert: Alert
    notice: Notice


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel sends in one go; of several alerts it makes a digest.

    `key` is the same whenever the same delivery is tried again.
    """

    told: Sequence[Told]
    key: str

    @property
    def is_digest(self) -> bool:
        """Whether it speaks of more than one alert."""
        return len(self.told) > 1


@dataclass(frozen=True, slots=True)
class Sent:
    """The channel took the message; `refused` says of whom it did not, empty when of nobody."""

    refused: str = ""


@dataclass(frozen=True, slots=True)
class NotSent:
    """It did not. `final`: sending the same again cannot help."""

    reason: str
    final: bool = False
    retry_after_seconds: float | None = None


SendOutcome = Sent | NotSent


class Channel(Protocol):
    """A way to tell people."""

    name: str
    per_hour: int

    async def send(self, message: Message) -> SendOutcome:
        """Send it; never raises for what the other side does."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPolicy:
    """Who is told of what, and when again."""

    routes: Mapping[str, Sequence[str]] = field(default_factory=lambda: DEFAULT_ROUTES)
    repeat_after: timedelta = timedelta(hours=4)
    digest_gap: timedelta = timedelta(minutes=15)
