"""Alerts, and what people do about them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from wastewise_jobs.alert_names import AlertStatus
from wastewise_jobs.wire.types import AnswerModel, Moment, Pagination, RequestModel

Note = Annotated[str, Field(min_length=1, max_length=2000)]


class AlertAnswer(AnswerModel):
    """One cause. `channels` were told; `undelivered` could not be."""

    id: UUID
    job_id: UUID | None
    type: str = Field(validation_alias="alert_type")
    severity: str
    status: AlertStatus
    message: str
    details: dict[str, Any]
    occurrences: int
    created_at: datetime
    last_seen_at: datetime
    notified_at: datetime | None
    channels: list[str]
    undelivered: list[str]
    acknowledged_at: datetime | None
    acknowledged_by: UUID | None
    acknowledged_note: str | None
    snoozed_until: datetime | None
    resolved_at: datetime | None


class AlertEvent(AnswerModel):
    """One thing that happened to it."""

    event: str
    channel: str | None
    actor: str | None
    note: str | None
    created_at: datetime


class AlertDetails(AlertAnswer):
    """One cause with its history, newest first; at most 500 events."""

    history: list[AlertEvent]


class AlertList(AnswerModel):
    """One page of alerts, newest first."""

    alerts: list[AlertAnswer]
    pagination: Pagination


class AcknowledgeRequest(RequestModel):
    """Somebody knows, and it stays quiet."""

    note: Note | None = None


class SnoozeRequest(RequestModel):
    """Quiet until then."""

    until: Moment
    note: Note | None = None
