from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from wastewise_jobs.alert_names import AlertStatus, Severity
from wastewise_jobs.alerts.model import Alert, AlertId, Notice, Told
from wastewise_jobs.alerts.wording import title_of

NOW = datetime(2026, 3, 1, 3, 15, tzinfo=UTC)


def told(kind: str, notice: Notice, details: dict[str, Any], seen: int = 1) -> Told:
    alert = Alert(
        id=AlertId(uuid4()),
        job_id=None,
        alert_type=kind,
        severity=Severity.CRITICAL,
        status=AlertStatus.OPEN,
        message="as it is",
        details=details,
        occurrences=seen,
        created_at=NOW,
        last_seen_at=NOW,
    )
    return Told(alert, notice)


@pytest.mark.parametrize(
    ("kind", "notice", "details", "seen", "title"),
    [
        (
            "job_failed",
            Notice.RAISED,
            {"job_type": "mail"},
            12_000,
            "Job failed: mail (12,000 times)",
        ),
        ("job_stuck", Notice.REMINDER, {"job_type": "mail"}, 1, "Job stuck: mail is still open"),
        (
            "job_stuck",
            Notice.RAISED,
            {"job_type": "mial", "cause": "unserved"},
            1,
            "No worker for: mial",
        ),
        ("worker_down", Notice.RAISED, {"worker_id": "w-7"}, 1, "Worker down: w-7"),
        ("high_error_rate", Notice.RAISED, {"percent": 37.5}, 1, "High error rate: 37.5 %"),
        ("high_error_rate", Notice.RAISED, {"percent": 100 / 3}, 1, "High error rate: 33.3 %"),
        (
            "high_error_rate",
            Notice.REMINDER,
            {"percent": "?"},
            1,
            "High error rate: ? is still open",
        ),
        # By then it is another one.
        ("high_error_rate", Notice.RESOLVED, {"percent": 3}, 1, "High error rate is resolved"),
    ],
)
def test_whoever_is_woken_reads_first_what_it_is_about(
    kind: str, notice: Notice, details: dict[str, Any], seen: int, title: str
) -> None:
    assert title_of(told(kind, notice, details, seen)) == title
