"""Where a database is, told without its password, and why it cannot be reached."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from wastewise_jobs.dsn import read_dsn
from wastewise_jobs.errors import ConfigurationError, DatabaseUnusableError


@contextmanager
def reachable(dsn: str, *, variable: str = "DATABASE_URL") -> Iterator[None]:
    """What connecting to `dsn` raises, as an error that names the variable it came from.

    A ConfigurationError for an address that means nothing, a DatabaseUnusableError for one where
    no usable server answers.
    """
    try:
        yield
    except asyncpg.TargetServerAttributeNotMatched as error:
        raise DatabaseUnusableError(
            f"{variable}: the {_place(dsn)} is a standby or read-only: point it at the primary"
        ) from error
    except (OSError, asyncpg.PostgresError) as error:
        raise DatabaseUnusableError(
            f"{variable}: the {_place(dsn)} cannot be reached: {_reason(error)}"
        ) from error
    except (ValueError, asyncpg.InterfaceError) as error:
        raise ConfigurationError(variable, f"cannot be used: {error}") from error


def _place(dsn: str) -> str:
    return read_dsn(dsn).place


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer came in time"
    number = getattr(error, "errno", None) or 0
    return os.strerror(number).lower() if number in errno.errorcode else str(error)
