"""The types of alerts and the channels that tell them, for settings, alerts and API alike. Pure."""

from enum import StrEnum


class AlertType(StrEnum):
    """What it is about."""

    JOB_FAILED = "job_failed"
    JOB_STUCK = "job_stuck"
    HIGH_ERROR_RATE = "high_error_rate"
    WORKER_DOWN = "worker_down"


EMAIL, SLACK, PAGERDUTY = "email", "slack", "pagerduty"
CHANNELS = (EMAIL, SLACK, PAGERDUTY)
