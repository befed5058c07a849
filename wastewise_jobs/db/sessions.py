"""Sessions that code which is not ours has used: put back as they were, or dropped."""

import asyncpg

from wastewise_jobs.db import trouble
from wastewise_jobs.db.pool import Connection, drop

# Constraints that were put off are checked first, as whoever the handler became and with what it
# has set. Inside the transaction, because behind a transaction pooler nothing later reaches the
# same session.
_UNDO_SETTINGS = """
SET CONSTRAINTS ALL IMMEDIATE; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL
"""
_LIMIT_IDLING = """
SELECT
    pg_catalog.current_setting('transaction_read_only') = 'on',
    pg_catalog.set_config('idle_in_transaction_session_timeout', $1, true)
"""
# As it was when the session began, but for its prepared statements.
_RESET_SESSION = """
RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL;
SELECT pg_catalog.pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; DISCARD TEMP
"""


async def undo_settings(connection: Connection, *, idle_milliseconds: int) -> bool:
    """Inside a transaction, which may idle for so long; whether it was made read-only.

    That is the one setting that nobody can take back before the transaction ends.
    """
    await connection.execute(_UNDO_SETTINGS)
    return bool(await connection.fetchval(_LIMIT_IDLING, str(idle_milliseconds)))


async def reset(connection: Connection) -> None:
    """The session as it began; where that cannot be had, nobody gets it again."""
    if is_gone(connection):
        return
    try:
        await connection.execute(_RESET_SESSION)
    except BaseException as error:
        # Whoever is cancelled just now, or refused, has changed the session all the same.
        drop(connection)
        if not isinstance(error, trouble.ERRORS):
            raise


def is_gone(connection: Connection) -> bool:
    """Whether it is closed; one that broke has left its proxy, which then answers nothing."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True
