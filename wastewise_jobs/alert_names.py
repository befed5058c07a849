"""The closed words about alerts and their channels, for settings, alerts and API alike. Pure."""

from enum import StrEnum


class AlertType(StrEnum):
    """What it is about."""

    JOB_FAILED = "job_failed"
    JOB_STUCK = "job_stuck"
    HIGH_ERROR_RATE = "high_error_rate"
    WORKER_DOWN = "worker_down"


class Severity(StrEnum):
    """How bad it is, from bad to worst."""

    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class AlertStatus(StrEnum):
    """Where it is in its life."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


EMAIL, SLACK, PAGERDUTY = "email", "slack", "pagerduty"
CHANNELS = (EMAIL, SLACK, PAGERDUTY)
