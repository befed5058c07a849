"""The rules that recognise an error, in the order in which they are asked.

What the handler said itself, the exception's type, an HTTP status, a SQLSTATE, an OS error number,
and at last the words of the message.
"""

import errno
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import ValidationError

from wastewise_jobs.errors import (
    ConfigurationError,
    InvalidInputError,
    PermanentError,
    RetryableError,
    text_of,
)
from wastewise_jobs.jobs.failure_numbers import (
    CHANGED,
    REFUSED,
    UNAVAILABLE,
    caught,
    http_status,
    os_number,
    said_by_os_number,
    said_by_sqlstate,
    sqlstate,
)
from wastewise_jobs.retry_after import LONGEST_RETRY_AFTER, retry_after

DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
_LONGEST_SEARCHED_TEXT = 4096


class FailureKind(StrEnum):
    """What an error says about another attempt; unknown is treated as retryable."""

    RETRYABLE = "retryable"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found; `message` None leaves the error its own words."""

    kind: FailureKind
    code: str
    reason: str
    message: str | None = None
    retry_after: timedelta | None = None
    details: Mapping[str, object] = field(default_factory=dict)


def recognise(error: BaseException, now: datetime) -> Finding | None:
    """What the first rule says that knows the error; None when none does."""
    finding = _by_own_word(error) or _by_type(error) or _by_http_status(error, now)
    finding = finding or _by_sqlstate(error) or _by_network_error(error) or _by_os_error(error)
    return finding or _by_message(error)


def safe_text(error: BaseException) -> str:
    """What the error says, whatever its own code does."""
    try:
        return text_of(error)
    except Exception:  # noqa: BLE001 - __str__ is the handler's code, and belongs to its run
        return "(its text cannot be read)"


def screaming(name: str) -> str:
    """The name of a class in the form of a code: SCREAMING_SNAKE_CASE."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def _by_own_word(error: BaseException) -> Finding | None:
    match error:
        case PermanentError():
            kind, code = FailureKind.PERMANENT, error.code
            return Finding(kind, code, "the handler says so", error.message, details=error.details)
        case RetryableError():
            return Finding(
                FailureKind.RETRYABLE,
                error.code,
                "the handler says so",
                error.message,
                _seconds(error.retry_after),
                error.details,
            )
        case _:
            return None


def _seconds(given: object) -> timedelta | None:
    """A delay that was given as a timedelta or, against the signature, in seconds."""
    if isinstance(given, timedelta):
        return given
    if isinstance(given, int | float) and 0 < given < LONGEST_RETRY_AFTER.total_seconds():
        return timedelta(seconds=given)
    return LONGEST_RETRY_AFTER if isinstance(given, int | float) and given > 0 else None


# By name, so that nothing has to be imported to recognise an error of a library.
_RETRYABLE_TYPES = {
    "aiohttp.client_exceptions.ClientConnectionError": "CONNECTION_FAILED",
    "aiohttp.client_exceptions.ClientPayloadError": "CONNECTION_FAILED",
    "httpx.TransportError": "CONNECTION_FAILED",
    "requests.exceptions.ConnectionError": "CONNECTION_FAILED",
    "requests.exceptions.Timeout": "TIMEOUT",
    "http.client.IncompleteRead": "CONNECTION_FAILED",
    "asyncio.exceptions.IncompleteReadError": "CONNECTION_FAILED",
    "asyncpg.exceptions._base.InternalClientError": "DATABASE_ERROR",
    "psycopg.OperationalError": DATABASE_UNAVAILABLE,
    "psycopg2.OperationalError": DATABASE_UNAVAILABLE,
}


def _by_type(error: BaseException) -> Finding | None:
    reason = f"exception type {type(error).__name__}"
    match error:
        case ValidationError():
            return Finding(FailureKind.PERMANENT, "INVALID_INPUT", reason, describe_invalid(error))
        case InvalidInputError():
            code, where = error.code.upper(), {"field": error.field} if error.field else {}
            return Finding(FailureKind.PERMANENT, code, reason, str(error), details=where)
        case ConfigurationError() | NotImplementedError():
            return Finding(FailureKind.PERMANENT, screaming(type(error).__name__), reason)
        case MemoryError():
            return Finding(FailureKind.RETRYABLE, "OUT_OF_MEMORY", reason)
        case _:
            return _by_type_name(error, reason)


def describe_invalid(error: ValidationError) -> str:
    """Field and problem of each error, without the values: they may be secrets."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [
        f"{'.'.join(map(str, problem['loc'])) or 'input'}: {problem['msg']}"
        for problem in problems[:10]
    ]
    more = len(problems) - len(lines)
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def _by_type_name(error: BaseException, reason: str) -> Finding | None:
    for base in type(error).__mro__:
        code = _RETRYABLE_TYPES.get(f"{base.__module__}.{base.__qualname__}")
        # A status or a number, where there is one, says more than the type.
        if code and http_status(error) is None and not (os_number(error) or sqlstate(error)):
            return Finding(FailureKind.RETRYABLE, code, reason)
    return None


_RETRYABLE_STATUSES = frozenset({408, 425, 429})
_PERMANENT_STATUSES = frozenset({400, 401, 403, 404, 409, 410, 422})


def _by_http_status(error: BaseException, now: datetime) -> Finding | None:
    status = http_status(error)
    kind = _kind_of_status(status) if status is not None else None
    if kind is None:
        return None
    return Finding(
        kind,
        f"HTTP_{status}",
        f"HTTP status {status}",
        retry_after=_retry_after(error, now) if kind is FailureKind.RETRYABLE else None,
        details={"http_status": status},
    )


def _kind_of_status(status: int) -> FailureKind | None:
    if status in _RETRYABLE_STATUSES or 500 <= status <= 599:  # noqa: PLR2004 - the 5xx statuses
        return FailureKind.RETRYABLE
    return FailureKind.PERMANENT if status in _PERMANENT_STATUSES else None


def _retry_after(error: BaseException, now: datetime) -> timedelta | None:
    response = getattr(error, "response", None)
    for owner in (error, response):
        headers = getattr(owner, "headers", None)
        if isinstance(headers, Mapping):
            for name, value in headers.items():
                if str(name).lower() == "retry-after":
                    return retry_after(str(value), now=now)
    return None


_SAID_BY_SQLSTATE = {
    UNAVAILABLE: (FailureKind.RETRYABLE, DATABASE_UNAVAILABLE),
    CHANGED: (FailureKind.RETRYABLE, "DATABASE_CHANGED"),
    REFUSED: (FailureKind.PERMANENT, "DATABASE_REFUSED"),
}


def _by_sqlstate(error: BaseException) -> Finding | None:
    state = sqlstate(error)
    said = said_by_sqlstate(state, error) if state else None
    if said is None:
        return None
    kind, code = _SAID_BY_SQLSTATE[said]
    return Finding(kind, code, f"SQLSTATE {state}", details={"sqlstate": state})


def _by_network_error(error: BaseException) -> Finding | None:
    if caught(error, ssl.SSLError):
        return Finding(FailureKind.RETRYABLE, "TLS_FAILED", "no secure connection came about")
    if caught(error, socket.gaierror, socket.herror):
        return Finding(FailureKind.RETRYABLE, "CONNECTION_FAILED", "a name was not resolved")
    return None


def _by_os_error(error: BaseException) -> Finding | None:
    if not isinstance(error, OSError):
        return None
    if isinstance(error, TimeoutError):
        return Finding(FailureKind.RETRYABLE, "TIMEOUT", "a time limit passed")
    number = os_number(error) or 0
    name, said = errno.errorcode.get(number), said_by_os_number(number)
    reason = f"OS error {name}" if name else f"exception type {type(error).__name__}"
    if said == REFUSED or isinstance(error, FileNotFoundError):
        return Finding(FailureKind.PERMANENT, name or "ENOENT", reason)
    if said == UNAVAILABLE or isinstance(error, ConnectionError):
        return Finding(FailureKind.RETRYABLE, name or "CONNECTION_FAILED", reason)
    return None


def _words(*patterns: str) -> re.Pattern[str]:
    # A hyphen, a slash or a dot joins words: ids, paths and host names are not sentences.
    return re.compile(rf"(?<![\w/.-])(?:{'|'.join(patterns)})(?![\w/-]|\.\w)", re.IGNORECASE)


_STATUS_WORDS = _words(
    r"(?:HTTP(?:/\d(?:\.\d)?)?|status)(?:[ _]?(?:status|error|code))*\s*(?:was|is|of)?\s*[:=]?\s*"
    r"(?P<after>[45]\d\d)",
    r"(?P<before>[45]\d\d)\s+(?:bad request|unauthorized|forbidden|not found|request timeout|"
    r"conflict|gone|unprocessable|too early|too many requests|internal server error|bad gateway|"
    r"service unavailable|gateway time-?out)",
)
_Match = Callable[[str], re.Match[str] | None]
_MESSAGE_RULES: tuple[tuple[FailureKind, str, _Match], ...] = (
    (
        FailureKind.RETRYABLE,
        "RATE_LIMITED",
        _words(r"rate[ -]?limit(?:ed|s|ing)?", "too many requests", "throttl(?:ed|ing)").search,
    ),
    (
        FailureKind.RETRYABLE,
        "TIMEOUT",
        _words("timed[ -]?out", "time-?out", "deadline exceeded", "ETIMEDOUT").search,
    ),
    (
        FailureKind.RETRYABLE,
        "CONNECTION_FAILED",
        _words(
            r"connection (?:was |is |has been )?(?:reset|refused|aborted|closed|lost|failed|error)",
            r"(?:ECONNRESET|ECONNREFUSED|ECONNABORTED|EPIPE|EAI_AGAIN)",
            "broken pipe",
            r"(?:network|host) is (?:unreachable|down)",
            r"(?:temporary failure in )?name resolution",
            r"server (?:has )?disconnected",
        ).search,
    ),
    (
        FailureKind.RETRYABLE,
        "SERVICE_UNAVAILABLE",
        _words(
            r"(?:service|server|temporarily) (?:is )?(?:temporarily )?unavailable",
            "bad gateway",
            "internal server error",
            "overloaded",
            r"(?:please )?try again(?: later)?",
            "deadlock detected",
            "could not serialize access",
        ).search,
    ),
    (
        FailureKind.PERMANENT,
        "NOT_FOUND",
        _words("not found", "no such (?:file|key|table|bucket)", "does not exist").search,
    ),
    (
        FailureKind.PERMANENT,
        "NOT_ALLOWED",
        _words(
            "unauthori[sz]ed",
            "forbidden",
            r"(?:permission|access) denied",
            r"invalid (?:api[ _-]?key|credentials?|token|password)",
            "authentication failed",
        ).search,
    ),
    (
        FailureKind.PERMANENT,
        "INVALID_INPUT",
        _words(
            "bad request",
            r"invalid (?:input|request|format|argument|file|json)",
            "malformed",
            "unprocessable(?: entity| content)?",
            r"unsupported (?:file|format|media|type)(?: type| format)?",
        ).search,
    ),
)


def _by_message(error: BaseException) -> Finding | None:
    text = safe_text(error)[:_LONGEST_SEARCHED_TEXT]
    found = _STATUS_WORDS.search(text)
    if found:
        status = int(found["after"] or found["before"])
        kind = _kind_of_status(status)
        if kind:
            details = {"http_status": status}
            return Finding(kind, f"HTTP_{status}", f"message says {found[0]!r}", details=details)
    for kind, code, search in _MESSAGE_RULES:
        found = search(text)
        if found:
            return Finding(kind, code, f"message says {found[0]!r}")
    return None
