"""The closed set of what a run can come to. One `match` with `assert_never` settles it."""

from dataclasses import dataclass, field
from datetime import timedelta

from wastewise_jobs.jobs.model import AiUsage, JsonObject


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned; `result_json` is a JSON text that PostgreSQL can store, or None."""

    result_json: str | None = None
    ai_usage: AiUsage | None = None


@dataclass(frozen=True, slots=True)
class CompletedInTransaction:
    """The handler's own transaction already recorded the completion: nothing is left to write."""


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The attempt failed in a way that may pass. The database decides when to try again."""

    code: str
    message: str
    kind: str
    details: JsonObject = field(default_factory=dict)
    least_delay: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The job failed for good."""

    code: str
    message: str
    kind: str
    details: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run stopped because somebody asked for it."""


@dataclass(frozen=True, slots=True)
class Released:
    """Given back unrun or cut short by a shutdown: no attempt charged."""


Outcome = Completed | CompletedInTransaction | RetryLater | Failed | Cancelled | Released
