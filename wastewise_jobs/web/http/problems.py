"""Everything the API can refuse, and how it says so: RFC 9457 problem details.

A `Refusal` is a status and a stable code. Routes list the refusals they can answer with, and the
OpenAPI document is made from those lists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from wastewise_jobs.db import trouble
from wastewise_jobs.errors import InvalidInputError, QuotaExceededError
from wastewise_jobs.wire.types import FieldProblem, Problem

PROBLEM_JSON = "application/problem+json"
_LONGEST_DETAIL = 2000


@dataclass(frozen=True, slots=True)
class Refusal:
    """A way to say no: the HTTP status, the stable code, and headers that always go with it."""

    status: int
    code: str
    retry_after_seconds: int | None = None


MALFORMED_JSON = Refusal(400, "malformed_json")
TOO_DEEP = Refusal(400, "too_deep")
DUPLICATE_KEY = Refusal(400, "duplicate_key")
NOT_FINITE = Refusal(400, "not_finite")
NUMBER_TOO_LARGE = Refusal(400, "number_too_large")
NUL_CHARACTER = Refusal(400, "nul_character")
LONE_SURROGATE = Refusal(400, "lone_surrogate")
INVALID_VALUE = Refusal(400, "invalid_value")
MISSING_FIELD = Refusal(400, "missing_field")
UNKNOWN_FIELD = Refusal(400, "unknown_field")
INVALID_CURSOR = Refusal(400, "invalid_cursor")
INVALID_INPUT = Refusal(400, "invalid_input")
UNKNOWN_JOB_TYPE = Refusal(400, "unknown_job_type")
PROJECT_REQUIRED = Refusal(400, "project_required")
BAD_REQUEST = Refusal(400, "bad_request")
UNAUTHENTICATED = Refusal(401, "unauthenticated")
QUOTA_EXCEEDED = Refusal(403, "quota_exceeded")
FORBIDDEN = Refusal(403, "forbidden")
LINK_NOT_VALID = Refusal(403, "link_not_valid")
NOT_FOUND = Refusal(404, "not_found")
ALERT_NOT_FOUND = Refusal(404, "alert_not_found")
JOB_NOT_FOUND = Refusal(404, "job_not_found")
PROJECT_NOT_FOUND = Refusal(404, "project_not_found")
FILE_NOT_FOUND = Refusal(404, "file_not_found")
REPORT_NOT_FOUND = Refusal(404, "report_not_found")
KEY_NOT_FOUND = Refusal(404, "key_not_found")
JOB_TYPE_NOT_FOUND = Refusal(404, "job_type_not_found")
METHOD_NOT_ALLOWED = Refusal(405, "method_not_allowed")
BODY_TIMEOUT = Refusal(408, "body_timeout")
IDEMPOTENCY_CONFLICT = Refusal(409, "idempotency_conflict")
KEY_RELEASED = Refusal(409, "idempotency_key_released", 1)
BUSY = Refusal(409, "busy", 2)
ALERT_RESOLVED = Refusal(409, "alert_resolved")
JOB_FINISHED = Refusal(409, "job_finished")
JOB_NOT_FAILED = Refusal(409, "job_not_failed")
PROJECT_BUSY = Refusal(409, "project_busy")
TOO_LARGE = Refusal(413, "too_large")
UNSUPPORTED_MEDIA_TYPE = Refusal(415, "unsupported_media_type")
EXPECTATION_FAILED = Refusal(417, "expectation_failed")
JOB_TYPE_REFUSED = Refusal(422, "job_type_refused")
CONSTRAINT_VIOLATED = Refusal(422, "constraint_violated")
INPUT_NOT_STORABLE = Refusal(422, "input_not_storable")
PROJECT_GONE = Refusal(422, "project_gone")
USER_UNKNOWN = Refusal(422, "user_not_found")
TOO_MANY_FILES = Refusal(422, "too_many_files")
EMPTY_FILE = Refusal(422, "empty_file")
RATE_LIMITED = Refusal(429, "rate_limited")
TOO_MANY_STREAMS = Refusal(429, "too_many_streams", 5)
TOO_MANY_WAITS = Refusal(429, "too_many_waits", 5)
TOO_MANY_DOWNLOADS = Refusal(429, "too_many_downloads", 5)
TOO_MANY_ENQUEUES = Refusal(429, "too_many_enqueues", 1)
TOO_MUCH_AT_ONCE = Refusal(429, "too_much_at_once", 2)
TOO_MANY_UPLOADS = Refusal(429, "too_many_uploads", 5)
INTERNAL_ERROR = Refusal(500, "internal_error")
DATABASE_UNAVAILABLE = Refusal(503, "database_unavailable", 5)
OVERLOADED = Refusal(503, "overloaded", 1)
STOPPING = Refusal(503, "stopping", 1)

BODY_REFUSALS = (
    MALFORMED_JSON,
    TOO_DEEP,
    DUPLICATE_KEY,
    NOT_FINITE,
    NUMBER_TOO_LARGE,
    NUL_CHARACTER,
    LONE_SURROGATE,
    INVALID_VALUE,
    MISSING_FIELD,
    UNKNOWN_FIELD,
    BODY_TIMEOUT,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
)
PARAMETER_REFUSALS = (INVALID_VALUE, MISSING_FIELD, UNKNOWN_FIELD, LONE_SURROGATE, NUL_CHARACTER)
_BY_CODE = {refusal.code: refusal for refusal in BODY_REFUSALS}


class ProblemError(Exception):
    """Raised anywhere below a handler; becomes the answer."""

    def __init__(
        self,
        refusal: Refusal,
        detail: str,
        *,
        field: str | None = None,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
        quota: QuotaExceededError | None = None,
    ) -> None:
        super().__init__(detail)
        self.quota = quota
        self.refusal = refusal
        self.detail = detail[:_LONGEST_DETAIL]
        self.field = field
        self.errors = list(errors)
        self.headers = dict(headers or {})


def unacceptable(error: InvalidInputError, *, prefix: str = "") -> ProblemError:
    """The answer to a value that `parse_json` or a validator refused."""
    field = ".".join(part for part in (prefix, error.field) if part)
    return ProblemError(
        _BY_CODE.get(error.code, INVALID_INPUT),
        f"{field}: {error.problem}" if field else error.problem,
        field=field or None,
        errors=[FieldProblem(field=field, problem=error.problem)] if field else (),
    )


def over_quota(error: QuotaExceededError) -> ProblemError:
    """The answer where a user has as much as one may have."""
    return ProblemError(QUOTA_EXCEEDED, str(error), quota=error)


def from_failure(error: BaseException) -> ProblemError:
    """The answer to an exception that nobody meant to be one."""
    state = trouble.sqlstate(error)
    if state.startswith(trouble.BAD_VALUE):
        # A value that slipped through: the client's to change, not ours to crash over.
        return ProblemError(INVALID_VALUE, "a value cannot be stored")
    if state.startswith(trouble.CONSTRAINT):
        return ProblemError(CONSTRAINT_VIOLATED, "a rule of the database refuses it")
    if trouble.is_passing(error):
        return ProblemError(DATABASE_UNAVAILABLE, "the database cannot be reached; try again")
    return ProblemError(INTERNAL_ERROR, "something went wrong here; the request id names it")


def answer(error: ProblemError, *, request_id: str, instance: str | None = None) -> web.Response:
    """The problem as a response."""
    refusal = error.refusal
    body = Problem(
        type="about:blank",
        title=HTTPStatus(refusal.status).phrase,
        status=refusal.status,
        detail=error.detail,
        code=refusal.code,
        request_id=request_id,
        instance=instance,
        field=error.field,
        errors=error.errors or None,
        quota=error.quota and error.quota.quota,
        limit=error.quota and error.quota.limit,
        used=error.quota and error.quota.used,
    )
    headers = {"Cache-Control": "no-store"}
    if refusal.retry_after_seconds is not None:
        headers["Retry-After"] = str(refusal.retry_after_seconds)
    return web.Response(
        status=refusal.status,
        body=body.model_dump_json(exclude_none=True).encode(),
        content_type=PROBLEM_JSON,
        headers=headers | error.headers,
    )


def no_such_project() -> ProblemError:
    """The one answer for a project that is missing and for one that is somebody else's."""
    return ProblemError(PROJECT_NOT_FOUND, "there is no such project")


def no_such_job() -> ProblemError:
    """The one answer for a job that is missing and for one that is somebody else's."""
    return ProblemError(JOB_NOT_FOUND, "there is no such job")
