"""Transactions that wait for nobody's lock for long."""

from wastewise_jobs.db.pool import Connection

_LIMIT_WAITS = "SELECT set_config('lock_timeout', $1, true)"
# Who waits behind somebody else for a row is told nothing of what he waits for. So it is a row,
# unless somebody holds a table in a way that lets nobody write.
_A_TABLE_IS_HELD = """
SELECT EXISTS (
    SELECT
    FROM pg_locks l
    JOIN pg_class c ON c.oid = l.relation
    WHERE l.locktype = 'relation'
      AND l.granted
      AND l.pid <> pg_backend_pid()
      AND l.mode IN (
          'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
      )
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND c.relnamespace = to_regnamespace('public')
)
"""


async def limit_lock_waits(connection: Connection, milliseconds: int) -> None:
    """From here to the end of the transaction; asyncpg.LockNotAvailableError afterwards."""
    await connection.execute(_LIMIT_WAITS, str(milliseconds))


async def a_table_is_held(connection: Connection) -> bool:
    """Whether somebody keeps everybody from writing a table of ours."""
    return bool(await connection.fetchval(_A_TABLE_IS_HELD))
