"""What the rounds ask of the database: whose a round is, and the answer of each check."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from wastewise_jobs.db.pool import Executor, Pool
from wastewise_jobs.maintenance.check import Check

_BEGIN = """
UPDATE public.schema_info
SET round_due_at = now() + $1::interval,
    round_until = now() + $2::interval
WHERE round_due_at <= now()
  AND (round_until IS NULL OR round_until <= now() OR round_until = $3)
RETURNING round_until
"""
_END = "UPDATE public.schema_info SET round_until = NULL WHERE round_until = $1"
_LIMIT = "SELECT set_config('statement_timeout', $1, true)"
_SET_STUCK_THRESHOLD = """
UPDATE public.schema_info
SET stuck_threshold = make_interval(mins => $1)
WHERE stuck_threshold <> make_interval(mins => $1)
"""
_ASTRAY = "SELECT count(*) FROM public.astray_jobs(public.unfinished_jobs())"
_REPAIR = "SELECT public.repair_job_queue()"
HELD = """
SELECT count(*) AS held, max(h.reason) AS says
FROM (
    SELECT p.reason
    FROM public.job_prune_holds p
    WHERE p.held_at > now() - interval '1 day'
    LIMIT 10000
) AS h
"""


@dataclass(frozen=True, slots=True)
class Held:
    """How many rows pruning passes over, and what keeps one of them."""

    rows: int
    reason: str | None


class RoundStore:
    """The rounds of the fleet, on the pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(
        self, interval: timedelta, length: timedelta, ours: datetime | None
    ) -> datetime | None:
        """Until when the round is this process's; None when none is due, or another has it.

        `ours` is a round of this process that was not ended.
        """
        until: datetime | None = await self._pool.fetchval(_BEGIN, interval, length, ours)
        return until

    async def end(self, until: datetime) -> None:
        """The round is over; the next one comes when it is due."""
        await self._pool.execute(_END, until)

    async def answer(self, check: Check, seconds: float) -> Mapping[str, Any]:
        """The one row that the check asks for; the server gives it up shortly before we do."""
        async with self._pool.acquire(timeout=seconds) as connection, connection.transaction():
            await connection.execute(_LIMIT, str(round(seconds * 900)))
            row = await connection.fetchrow(check.statement, *check.arguments)
        return dict(row) if row else {}


async def set_stuck_threshold(executor: Executor, minutes: int) -> None:
    """From when on a job without a heartbeat counts as stuck, for the database's functions."""
    await executor.execute(_SET_STUCK_THRESHOLD, minutes)


async def astray_jobs(executor: Executor) -> int:
    """How many jobs job_queue and analysis_jobs disagree about."""
    return int(await executor.fetchval(_ASTRAY))


async def repair(executor: Executor) -> int:
    """Mend that at once; how many rows were changed."""
    return int(await executor.fetchval(_REPAIR))


async def held_rows(executor: Executor) -> Held:
    """What pruning could not delete in the last day."""
    row = await executor.fetchrow(HELD)
    return Held(*row) if row is not None else Held(0, None)
