"""What an error of the database means: the one home of SQLSTATEs and of judgements about them.

The codes are those of PostgreSQL's documentation, appendix A: five characters, of which the first
two name a class. A family here is a tuple of beginnings, as `str.startswith` takes it.
"""

from typing import Final, TypeAlias

import asyncpg

States: TypeAlias = tuple[str, ...]

# Whatever speaking to PostgreSQL can raise; a TimeoutError is an OSError. InternalClientError: a
# pooled connection that died while it was given back.
ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)

# A standby, or a primary that has become one.
READ_ONLY: Final = "25006"
NO_RIGHT: Final = "42501"
# A connection that cannot be had or broke, a server that stops or starts, a database that is gone.
SERVER_GONE: Final[States] = ("08", "57P01", "57P02", "57P03", "57P04")
# The server is well and has ended this session, which was idle or in a transaction for too long.
SESSION_ENDED: Final[States] = ("25P03", "25P04", "57P05")
LOST_CONNECTION: Final[States] = (*SERVER_GONE, *SESSION_ENDED)
# No use trying another statement on this connection, and hardly another connection to this server.
UNUSABLE: Final[States] = (*SERVER_GONE, READ_ONLY)
# 53 resources, 58 the system around the server. Any statement meets these, whatever it says.
OUTAGE: Final[States] = (*LOST_CONNECTION, READ_ONLY, "53", "58")
# 40 deadlocks and serialization, a lock that did not come in time, a statement that was cancelled.
BUSY: Final[States] = ("40", "55P03", "57000", "57014")
# The same statement may well work later.
PASSING: Final[States] = (*OUTAGE, *BUSY)
# Tables, columns, functions, types, schemas and indexes that are not there, or not yet: code that
# is deployed before its migration meets them, and so does old code after it.
CHANGED_SCHEMA: Final[States] = (
    "3F000",
    "42P01",
    "42P10",
    "42703",
    "42704",
    "42725",
    "42883",
)
CONSTRAINT: Final[States] = ("23",)
# 22 data, 54 limits of the program.
BAD_VALUE: Final[States] = ("22", "54")
# The fault of the row that was sent: it is refused however often it comes.
NOT_STORABLE: Final[States] = (*CONSTRAINT, *BAD_VALUE)
# A prepared statement that is gone or there twice: each transaction has another server session.
POOLED: Final[States] = ("26000", "42P05")


def sqlstate(error: BaseException) -> str:
    """What PostgreSQL calls it; empty for an error of anybody else."""
    return str(getattr(error, "sqlstate", None) or "")


def is_outage(error: BaseException) -> bool:
    """Whether any statement would meet it, and any number of loops and requests do."""
    if isinstance(error, asyncpg.PostgresError):
        return _ends_session(error) or sqlstate(error).startswith(OUTAGE)
    return isinstance(error, ERRORS)


def is_passing(error: BaseException) -> bool:
    """Whether trying the same again later may help, with nobody changing anything."""
    return is_outage(error) or sqlstate(error).startswith(BUSY)


def is_lost_connection(error: BaseException) -> bool:
    """Whether nobody answers there, or no longer; what a server says against us is none."""
    return isinstance(error, OSError) or sqlstate(error).startswith(LOST_CONNECTION)


def _ends_session(error: asyncpg.PostgresError) -> bool:
    # Or keeps it from beginning: that says nothing about a statement.
    return getattr(error, "severity_en", None) in {"FATAL", "PANIC"}
