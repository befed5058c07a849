"""What a server says of itself: its release, its clock, its room, and whether it can be written."""

from dataclasses import dataclass
from datetime import datetime

from wastewise_jobs.db.pool import Connection, Executor

_RELEASE = "SHOW server_version"
_CLOCK = "SELECT clock_timestamp()"
_ROOM = """
SELECT
    current_setting('max_connections')::integer
        - current_setting('superuser_reserved_connections')::integer AS most,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used
"""
# A connection that survived a failover can still lead to the old primary: reading works there.
_IS_WRITABLE = """
SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'
"""
_WRITE = "UPDATE public.schema_info SET updated_at = updated_at"


@dataclass(frozen=True, slots=True)
class Room:
    """How many connections the server gives to roles like ours, and how many clients it has."""

    most: int
    used: int


async def release(executor: Executor) -> str:
    """What it calls its release, "17.2 (Debian 17.2-1)"."""
    return str(await executor.fetchval(_RELEASE))


async def clock(executor: Executor) -> datetime:
    now: datetime = await executor.fetchval(_CLOCK)
    return now


async def room(executor: Executor) -> Room:
    """The room that it has for connections."""
    row = await executor.fetchrow(_ROOM)
    return Room(*row) if row is not None else Room(0, 0)


async def is_writable(executor: Executor) -> bool:
    """Whether it is a primary, and the session may write."""
    return bool(await executor.fetchval(_IS_WRITABLE))


async def try_to_write(connection: Connection) -> None:
    """A real write, rolled back: a standby and a role without rights both answer reads."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(_WRITE)
    finally:
        await transaction.rollback()
