"""Numbers that errors carry, each read only where it means what it says.

Libraries put numbers of their own into attributes of the same names: OpenSSL's and a resolver's
into `errno`, a robot's or a process's into `status`, MySQL's into `sqlstate`. Read as somebody
else's, they make a permanent failure of what would have passed.
"""

import errno
import re
import socket
import ssl

from wastewise_jobs.db import trouble

UNAVAILABLE, CHANGED, REFUSED = "unavailable", "changed", "refused"

# Of a handler's own statements: 55 is an object that is in use or not ready, 0A what PostgreSQL
# cannot do, 42 syntax and rights.
_RETRYABLE_SQLSTATES = (*trouble.PASSING, "55")
_PERMANENT_SQLSTATES = (*trouble.NOT_STORABLE, "0A", "42")
_DRIVERS = frozenset({"asyncpg", "psycopg", "psycopg2"})


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's, of an error of one of its drivers, which an ORM may have wrapped."""
    for link in (error, getattr(error, "orig", None)):
        if any(base.__module__.partition(".")[0] in _DRIVERS for base in type(link).__mro__):
            state = getattr(link, "sqlstate", None) or getattr(link, "pgcode", None)
            if isinstance(state, str) and re.fullmatch(r"[0-9A-Z]{5}", state):
                return state
    return None


def said_by_sqlstate(state: str, error: BaseException) -> str | None:
    """Whether the database was unavailable, has changed, or refuses; None when it says nothing."""
    if state.startswith(_RETRYABLE_SQLSTATES):
        return UNAVAILABLE
    if state.startswith(trouble.CHANGED_SCHEMA) or (state == "0A000" and _is_stale_plan(error)):
        return CHANGED
    return REFUSED if state.startswith(_PERMANENT_SQLSTATES) else None


def _is_stale_plan(error: BaseException) -> bool:
    """Cached plan must not change result type: prepared before a migration, used after it."""
    source = getattr(getattr(error, "diag", None), "source_function", None)
    stale = type(error).__name__ == "InvalidCachedStatementError" or "cached plan" in str(error)
    return stale or source == "RevalidateCachedQuery"


def http_status(error: BaseException) -> int | None:
    """Of an answer that the error tells of; of nothing that merely has a status."""
    for owner in (getattr(error, "response", None), error):
        if not _tells_of_http(owner):
            continue
        for name in ("status_code", "status"):
            status = getattr(owner, name, None)
            if isinstance(status, int) and 100 <= status <= 599:  # noqa: PLR2004 - HTTP's range
                return int(status)
    return None


def _tells_of_http(owner: object) -> bool:
    spoken = (getattr(owner, name, None) for name in ("headers", "request", "request_info"))
    names = (f"{base.__module__}.{base.__qualname__}".lower() for base in type(owner).__mro__)
    return any(item is not None for item in spoken) or any("http" in name for name in names)


_PERMANENT_OS_ERRORS = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)
_RETRYABLE_OS_ERRORS = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EDQUOT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.EIO,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)


# OpenSSL's and the resolver's.
_OTHER_LISTS = (ssl.SSLError, socket.gaierror, socket.herror)


def os_number(error: BaseException) -> int | None:
    """The system's own error number."""
    if not isinstance(error, OSError) or caught(error, *_OTHER_LISTS):
        return None
    return error.errno if isinstance(error.errno, int) else None


def caught(error: BaseException, *kinds: type[OSError]) -> bool:
    """Whether it is one of these, or has copied the number of one, as aiohttp does."""
    copied = error.__cause__ if _same_number(error, error.__cause__) else None
    links = (error, getattr(error, "os_error", None), copied)
    return any(isinstance(link, kinds) for link in links)


def _same_number(error: BaseException, cause: BaseException | None) -> bool:
    number = getattr(error, "errno", None)
    return number is not None and getattr(cause, "errno", None) == number


def said_by_os_number(number: int) -> str | None:
    """Whether that was unavailable, or is refused; None when it says nothing."""
    if number in _PERMANENT_OS_ERRORS:
        return REFUSED
    return UNAVAILABLE if number in _RETRYABLE_OS_ERRORS else None
