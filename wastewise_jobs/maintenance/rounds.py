"""The loop of the periodic task: one round at a time in the whole fleet."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from wastewise_jobs.db.loops import Beat, Loop
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.logs import get_logger
from wastewise_jobs.maintenance.check import Check
from wastewise_jobs.maintenance.store import RoundStore

log = get_logger(__name__)

_STEPS_A_ROUND = 25
# For this long a round is its process's alone. Whoever dies in one delays the next by no more.
_ROUND = timedelta(minutes=3)
_LAST_SECONDS = 10.0
_LONGEST_CHECK_SECONDS = 20.0


class Maintenance:
    """Looks every `interval`, and up to `jitter` later, whether a round is due, and runs it.

    `on_round()` is awaited after a round in which every check went well.
    """

    def __init__(
        self,
        pool: Pool,
        checks: Sequence[Check],
        *,
        interval: timedelta,
        jitter: timedelta,
        on_round: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._store = RoundStore(pool)
        self.checks = checks
        # However slow each is, the last one has its turn as well.
        share = (_ROUND.total_seconds() - _LAST_SECONDS) / max(len(checks), 1)
        self._check_seconds = min(share, _LONGEST_CHECK_SECONDS)
        self._interval = interval
        self._jitter = jitter
        self._on_round = on_round
        # Of a round of ours whose end could not be recorded.
        self._until: datetime | None = None
        self.rounds = 0
        self.failures: Counter[str] = Counter()
        self.beat = Beat((interval + jitter + _ROUND).total_seconds() / 3)
        self._loop = Loop("maintenance", self._pause, beat=self.beat)

    @property
    def failing(self) -> bool:
        """Whether the last look at what is due failed, or its round."""
        return self._loop.failing

    async def run(self) -> None:
        """Look until cancelled."""
        await self._loop.run(self._tick)

    def _pause(self) -> float:
        jitter = random.uniform(0, self._jitter.total_seconds())  # noqa: S311 - not a secret
        return self._interval.total_seconds() + jitter

    async def _tick(self) -> None:
        await self.tick()

    async def tick(self) -> bool:
        """Run a round if one is due; whether it was ours."""
        until = await self._store.begin(self._interval, _ROUND, self._until)
        if until is None:
            return False
        self._until = until
        try:
            async with asyncio.timeout(_ROUND.total_seconds() - _LAST_SECONDS / 2):
                await self._round()
        finally:
            await self._store.end(until)
        self._until = None
        return True

    async def _round(self) -> None:
        good = [await self._carried_out(check) for check in self.checks]
        self.rounds += 1
        if all(good) and self._on_round is not None:
            await self._on_round()

    async def _carried_out(self, check: Check) -> bool:
        try:
            async with asyncio.timeout(self._check_seconds):
                found = await self._ask(check)
        except Exception as error:  # noqa: BLE001 - a loop's tick: the other checks go on
            self.failures[check.name] += 1
            text = f"{type(error).__name__}: {error}"
            log.error("check_failed", check=check.name, error=text)  # noqa: TRY400 - says it all
            return False
        if any(value for value in found.values() if isinstance(value, int)):
            if check.loud:
                log.warning("check_warned", check=check.name, **found)
            else:
                log.info("check_found", check=check.name, **found)
        return True

    async def _ask(self, check: Check) -> Mapping[str, Any]:
        counted: Counter[str] = Counter()
        said: dict[str, str] = {}
        step_until = time.monotonic() + self._check_seconds / 2
        for _ in range(_STEPS_A_ROUND if check.in_steps else 1):
            self.beat.stamp()
            row = await self._store.answer(check, self._check_seconds)
            for name, value in row.items():
                if isinstance(value, str):
                    said[name] = value
                elif value is not None:
                    counted[name] += int(value)
            if not row or not next(iter(row.values())) or time.monotonic() > step_until:
                break
        return {**counted, **said}
