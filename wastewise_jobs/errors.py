"""Every error that this package raises on purpose.

WastewiseJobsError
├── ConfigurationError       a setting is missing, wrong or half-set
├── DatabaseUnusableError    no PostgreSQL can be had, or it is not the one we need
│   └── SchemaMismatchError  the schema is older or newer than this release understands
├── InvalidInputError        a value that a caller gave cannot be accepted; names the field
├── JobRefusedError          the job could not be enqueued: a constraint or a limit says no
├── QuotaExceededError       a user has as much of something as one may have
├── LeaseLostError           the job was given to another worker
├── WorkerWornOutError       the worker ended by itself: only a new process helps
├── PermanentError           a handler says: retrying cannot help
└── RetryableError           a handler says: retrying may help
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any


class WastewiseJobsError(Exception):
    """The root: catch it to catch everything that we raise on purpose."""


class ConfigurationError(WastewiseJobsError):
    """A setting is missing, wrong or half-set; the message names the variable."""

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"{variable}: {problem}")
        self.variable = variable
        self.problem = problem


class DatabaseUnusableError(WastewiseJobsError):
    """No PostgreSQL can be reached or started; the message says what to do."""


class SchemaMismatchError(DatabaseUnusableError):
    """The schema is older or newer than this release understands."""


class InvalidInputError(WastewiseJobsError):
    """A value that a caller gave cannot be accepted.

    `field` is the dotted path of the value (`inputData.files.0`), `code` a word for programs.
    """

    def __init__(self, field: str, problem: str, *, code: str = "invalid_input") -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem
        self.code = code


class JobRefusedError(WastewiseJobsError):
    """The job could not be enqueued; `code` is a stable word, `field` what to change."""

    def __init__(self, code: str, problem: str, *, field: str = "") -> None:
        super().__init__(problem)
        self.code = code
        self.problem = problem
        self.field = field


class QuotaExceededError(WastewiseJobsError):
    """A user has as much of something as one may have; `quota` is its name."""

    def __init__(self, quota: str, *, limit: int, used: int) -> None:
        super().__init__(f"at most {limit} {quota.replace('_', ' ')}; {used} are used")
        self.quota = quota
        self.limit = limit
        self.used = used


class LeaseLostError(WastewiseJobsError):
    """The job was given to another worker before this one could settle it.

    Says nothing about the job: drop the outcome, log it, claim the next. Never an alert, because
    the rescue that took the lease has already told its story.
    """

    def __init__(self, job_id: object, fence: int) -> None:
        super().__init__(f"lease of job {job_id} under fence {fence} is lost")
        self.job_id = job_id
        self.fence = fence


class WorkerWornOutError(WastewiseJobsError):
    """The worker ended by itself, because handlers that do not end hold all slots of a lane.

    Its process ends with an error, so that whatever supervises it starts a new one.
    """

    def __init__(self) -> None:
        super().__init__("the worker stopped: handlers that do not end hold all its slots")


class PermanentError(WastewiseJobsError):
    """Raised by a handler: this job cannot succeed, whatever is tried again.

    `code` is stored as the job's error_code, `details` (a JSON object) as its error_details.
    """

    def __init__(
        self, code: str, message: str, *, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details or {})


class RetryableError(WastewiseJobsError):
    """Raised by a handler: the same job may succeed later.

    `retry_after` is the least delay that the failing service asked for; the delay that the
    retry schedule gives is used when it is longer.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "RETRYABLE_ERROR",
        retry_after: timedelta | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.details = dict(details or {})


# PostgreSQL's and its drivers' words, each on a line of its own behind the message.
_BEHIND_MESSAGE = re.compile(
    r"\s*\n[ \t]*(?:DETAIL|HINT|CONTEXT|QUERY|STATEMENT|WHERE|LINE \d+):.*", re.DOTALL
)


def without_row_values(text: str) -> str:
    """What PostgreSQL says without DETAIL and what follows: there it shows the values of rows."""
    # Most texts have one line.
    return _BEHIND_MESSAGE.sub("", text) if "\n" in text else text


def text_of(error: BaseException) -> str:
    """What an error says, without the values of rows."""
    if isinstance(getattr(error, "sqlstate", None), str):
        # The drivers put DETAIL behind the message only in str(), and not always in English.
        diagnosis = getattr(error, "diag", None)
        primary = getattr(diagnosis, "message_primary", None) or next(iter(error.args), "")
        return without_row_values(str(primary))
    return without_row_values(str(error))


_PROBLEMS = {
    "missing": "is required",
    "bool_parsing": "must be true or false",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "greater_than_equal": "must be at least {ge:.15g}",
    "less_than_equal": "must be at most {le:.15g}",
    "uuid_parsing": "must be a UUID such as 7b0f9a52-3c1d-4e8f-9a6b-2d5e8c1f0a37",
    "string_unicode": "must be text in UTF-8",
    "string_too_long": "is longer than {max_length}",
    "too_long": "is longer than {max_length}",
}


def problem_of(details: Mapping[str, Any]) -> str:
    """What pydantic says about one value, as the rest of a line that begins with its name."""
    limits = details.get("ctx") or {}
    if limits.get("min_length") == 1:
        return "must not be empty"
    if words := _PROBLEMS.get(details["type"]):
        return words.format_map(limits)
    said: str = details["msg"].removeprefix("Value error, ")
    return said.replace("Input should", "must").replace("String should", "must")
