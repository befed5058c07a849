"""What messages say, whatever the channel: titles, facts and links. Pure.

Texts of jobs are redacted once more, cut, and free of control characters when they leave here.
Each channel escapes for its own format.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never
from uuid import UUID

from wastewise_jobs.alert_names import AlertType, Severity
from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.model import Alert, Message, Notice, Told
from wastewise_jobs.in_words import duration, moment, number, percent
from wastewise_jobs.logs import redact

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST_TEXT = 1200
_MOST_IN_DIGEST = 25
_NAMES: Mapping[str, str] = {
    AlertType.JOB_FAILED: "Job failed",
    AlertType.JOB_STUCK: "Job stuck",
    AlertType.HIGH_ERROR_RATE: "High error rate",
    AlertType.WORKER_DOWN: "Worker down",
    "test": "Test of the alerts",
    # A cause of job_stuck.
    "unserved": "No worker for",
}
_LABELS = {
    "job_type": "Job type",
    "queue": "Queue",
    "last_job_id": "Job",
    "user_id": "User",
    "project_id": "Project",
    "error_code": "Error code",
    "attempts": "Attempts",
    "max_retries": "Retries allowed",
    "crashes": "Worker crashes",
    "worker_id": "Worker",
}
# Shown on their own, or nobody's business.
_APART = {"error_message", "cause", "checks_under"}
# Digits that count nothing.
_NAMES_OF_THINGS = {"pid"}
_UNIT = re.compile(r"_(?:seconds|percent)$")


@dataclass(frozen=True, slots=True)
class Worded:
    """One alert in words. `text` is what the job or the check said, None when the title does."""

    title: str
    mark: str
    severity: str
    text: str
    facts: Sequence[tuple[str, str]]
    job_url: str | None
    acknowledge_url: str | None


@dataclass(frozen=True, slots=True)
class WordedMessage:
    """A message in words; `more` is how many alerts of a digest are not named."""

    subject: str
    alerts: Sequence[Worded]
    more: int

    @property
    def is_digest(self) -> bool:
        """Whether it speaks of more than one alert."""
        return len(self.alerts) > 1


def worded(message: Message, links: AlertLinks) -> WordedMessage:
    """The message in words; a digest names the worst alerts, at most 25."""
    shown = [_worded(told, links) for told in message.told[:_MOST_IN_DIGEST]]
    more = len(message.told) - len(shown)
    if not message.is_digest:
        return WordedMessage(f"{shown[0].mark} {shown[0].title}", shown, 0)
    seen = sum(told.alert.occurrences for told in message.told)
    subject = f"{len(message.told)} alerts, seen {seen:,} times"
    return WordedMessage(subject, shown, more)


def _worded(told: Told, links: AlertLinks) -> Worded:
    alert = told.alert
    resolved = told.notice is Notice.RESOLVED
    job_id = _job_of(alert)
    return Worded(
        title=title_of(told),
        mark="[resolved]" if resolved else f"[{alert.severity}]",
        severity="resolved" if resolved else alert.severity,
        text=clean(str(alert.details.get("error_message") or alert.message)),
        facts=list(_facts(alert)),
        job_url=links.job(alert.id, job_id) if job_id else None,
        acknowledge_url=None if resolved else links.acknowledge(alert.id),
    )


def _job_of(alert: Alert) -> UUID | None:
    # The one that was seen last; the row may say anything.
    try:
        return UUID(str(alert.details["last_job_id"]))
    except (KeyError, ValueError):
        return alert.job_id


def title_of(told: Told) -> str:
    """A line such as `Job failed: complete_analysis (12 times)`; holds no text of a job.

    Whoever is woken reads this first: which job type, which worker, how many in a hundred.
    """
    alert = told.alert
    kind = "unserved" if alert.details.get("cause") == "unserved" else alert.alert_type
    name = _NAMES.get(kind, kind)
    about = alert.details.get("job_type") or alert.details.get("worker_id")
    share = alert.details.get("percent")
    if about:
        name = f"{name}: {clean(str(about), 100)}"
    elif share is not None and told.notice is not Notice.RESOLVED:
        name = f"{name}: {_said('percent', share)}"
    times = f" ({alert.occurrences:,} times)" if alert.occurrences > 1 else ""
    match told.notice:
        case Notice.RESOLVED:
            return f"{name}{times} is resolved"
        case Notice.REMINDER:
            return f"{name}{times} is still open"
        case Notice.RAISED | Notice.ACKNOWLEDGED:
            return name + times
        case unreachable:
            assert_never(unreachable)


def _facts(alert: Alert) -> Iterator[tuple[str, str]]:
    yield "Severity", alert.severity
    yield "Seen", f"{alert.occurrences:,} times" if alert.occurrences > 1 else "once"
    yield "First seen", moment(alert.created_at)
    if alert.occurrences > 1:
        yield "Last seen", moment(alert.last_seen_at)
    if alert.resolved_at:
        yield "Resolved", moment(alert.resolved_at)
    for name, value in alert.details.items():
        if name not in _APART and not isinstance(value, dict | list):
            label = _LABELS.get(name) or _UNIT.sub("", name).replace("_", " ").capitalize()
            yield clean(label, 60), clean(_said(name, value), 200)


def _said(name: str, value: object) -> str:
    """A figure as its name says what it is; anything else as it stands."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int() | float() if name not in _NAMES_OF_THINGS:
            return _figure(name, value)
        case str() if name.endswith(("_at", "_since")):
            return _moment_of(value)
        case _:
            return "-" if value is None else str(value)


def _figure(name: str, value: float) -> str:
    if name.endswith("percent"):
        return percent(value)
    return duration(value) if name.endswith("_seconds") else number(value)


def _moment_of(value: str) -> str:
    try:
        return moment(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return value


def clean(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Redacted, without control characters, cut."""
    text = _CONTROL.sub(" ", redact(text)).strip()
    return text if len(text) <= longest else text[: longest - 1] + "…"


def worst(message: Message) -> str:
    """The highest severity in the message."""
    order = list(Severity)
    return max(
        (told.alert.severity for told in message.told), key=lambda s: order.index(Severity(s))
    )
