"""What can go wrong between a caller and the service.

ClientError
├── ServiceUnreachableError   no answer, however often it was asked
├── UnexpectedAnswerError     an answer, but not one of this service's
└── ProblemError              the service said no; carries its problem details
    ├── NotAuthorizedError    401, 403
    ├── NotFoundError         404, also for what belongs to somebody else
    ├── ConflictError         409
    ├── RateLimitedError      429
    └── ServiceError          5xx
"""

from collections.abc import Mapping
from typing import Any

from wastewise_jobs.errors import WastewiseJobsError


class ClientError(WastewiseJobsError):
    """The root of everything that the client raises."""


class ServiceUnreachableError(ClientError):
    """No answer came from `base_url`; what was asked may or may not have been done."""

    def __init__(self, base_url: str, reason: str) -> None:
        super().__init__(f"no answer from {base_url}: {reason}")
        self.base_url = base_url
        self.reason = reason


class UnexpectedAnswerError(ClientError):
    """Something answered that does not speak this API: a proxy, another service, a newer one."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"unexpected answer (HTTP {status}): {reason}")
        self.status = status


class ProblemError(ClientError):
    """The service said no. `code` is the stable word for programs, `fields` what to change."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code") or f"http_{status}")
        self.title = str(problem.get("title") or "")
        self.detail = str(problem.get("detail") or self.title or f"HTTP {status}")
        self.field = _field_of(problem)
        self.request_id = problem.get("requestId")
        self.problem = dict(problem)
        super().__init__(self._message())

    def _message(self) -> str:
        named = self.field and self.field not in self.detail
        text = f"{self.field}: {self.detail}" if named else self.detail
        return f"{text} ({self.code})"


def _field_of(problem: Mapping[str, Any]) -> str:
    """The first field that the problem names, as `field` or in its list of `errors`."""
    errors = problem.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], Mapping):
        return str(errors[0].get("field") or problem.get("field") or "")
    return str(problem.get("field") or "")


class NotAuthorizedError(ProblemError):
    """The token is missing, wrong, expired or not enough."""


class NotFoundError(ProblemError):
    """There is no such thing, or it belongs to somebody else."""


class ConflictError(ProblemError):
    """The thing is not in a status that allows this, or the key was used for another request."""


class RateLimitedError(ProblemError):
    """Too many requests; repeated already as often as the client's budget allows."""


class ServiceError(ProblemError):
    """The service failed; `request_id` is what its operator wants to know."""


def problem_error(status: int, problem: Mapping[str, Any]) -> ProblemError:
    """The error that fits the status."""
    kinds: dict[int, type[ProblemError]] = {
        401: NotAuthorizedError,
        403: NotAuthorizedError,
        404: NotFoundError,
        409: ConflictError,
        429: RateLimitedError,
    }
    server_errors = 500
    fallback = ServiceError if status >= server_errors else ProblemError
    return kinds.get(status, fallback)(status, problem)
