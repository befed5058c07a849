"""How every long-running loop lives: it beats, and a failing tick only slows it down."""

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from wastewise_jobs.db import trouble
from wastewise_jobs.db.wake import Wake
from wastewise_jobs.logs import get_logger

log = get_logger(__name__)

_OUTAGE_FORGOTTEN_SECONDS = 60.0


@dataclass(slots=True)
class Beat:
    """When a loop last ticked (monotonic seconds) and how often it means to.

    With the time that PostgreSQL may take: a silent one is no reason for a new process.
    """

    expected_every: float
    last: float = field(default_factory=time.monotonic)

    @property
    def late(self) -> bool:
        """Three intervals without a tick; a short interval is given five seconds at least."""
        return time.monotonic() - self.last > max(3 * self.expected_every, 5.0)

    def stamp(self) -> None:
        """The loop is alive."""
        self.last = time.monotonic()


Beats = dict[str, Beat]


class Backoff:
    """Delays in seconds that double up to a cap, each between half and all of itself."""

    def __init__(self, first: float = 0.1, cap: float = 5.0) -> None:
        self._first, self._cap = first, cap
        self.failures = 0

    def next(self) -> float:
        """The delay after one more failure; `failures` counts those in a row."""
        delay = min(self._cap, self._first * 2.0 ** min(self.failures, 32))
        self.failures += 1
        # Jitter, so that processes that failed together do not come back together.
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret

    def reset(self) -> bool:
        """Start again from the first delay; whether there had been failures."""
        failed = self.failures > 0
        self.failures = 0
        return failed


class Steady(Backoff):
    """No backoff: after a failure the delay is what it always is."""

    def __init__(self, every: Callable[[], float]) -> None:
        super().__init__()
        self._every = every

    def next(self) -> float:
        """The usual delay."""
        self.failures += 1
        return self._every()


class Failures:
    """Those of one loop in a row: the first is told, and so is their end."""

    def __init__(self, name: str, backoff: Backoff) -> None:
        self._name, self._backoff = name, backoff

    @property
    def going_on(self) -> bool:
        """Whether the last attempt was one."""
        return self._backoff.failures > 0

    def met(self, error: Exception) -> float:
        """Take note of one; the delay after it."""
        delay = self._backoff.next()
        log_failed_tick(self._name, error, first=self._backoff.failures == 1)
        return delay

    def over(self) -> None:
        """It works."""
        if self._backoff.reset():
            log_recovered(self._name)


class Loop:
    """Ticks until it is stopped or cancelled, whatever a tick raises.

    A tick returns the seconds until the next one, or None for `every()`; it sees itself that it
    ends in time. `wake` ends any wait, also the one after a failure.
    """

    def __init__(
        self,
        name: str,
        every: Callable[[], float],
        *,
        wake: Wake | None = None,
        backoff: Backoff | None = None,
        beat: Beat | None = None,
    ) -> None:
        self.name = name
        self.wake = wake or Wake()
        self.beat = beat or Beat(every())
        # From any thread; to have it seen at once takes a hint as well.
        self.stopping = False
        # Whether it was a hint that ended the last wait.
        self.hinted = False
        self._every = every
        self._failures = Failures(name, backoff or Steady(every))

    @property
    def failing(self) -> bool:
        """Whether the last tick failed."""
        return self._failures.going_on

    def stop(self) -> None:
        """End after the tick that is under way."""
        self.stopping = True
        self.wake.hint()

    async def run(self, tick: Callable[[], Awaitable[float | None]]) -> None:
        """Tick, beginning now."""
        while not self.stopping:
            self.beat.stamp()
            delay = await self._tick(tick)
            self.hinted = await self.wake.wait(delay)

    async def _tick(self, tick: Callable[[], Awaitable[float | None]]) -> float:
        try:
            delay = await tick()
        except Exception as error:  # noqa: BLE001 - a loop's tick: nothing may end the loop
            return self._failures.met(error)
        self._failures.over()
        return self._every() if delay is None else delay


def jittered(seconds: float) -> float:
    """An interval with up to a tenth more or less, so that processes drift apart."""
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 - not a secret


class _SharedNews:
    """A database that is away is the same news for every loop of a process.

    The first loop that meets it tells so, and the first that works again that it is back. Several
    threads call this; at worst a line is written twice.
    """

    def __init__(self) -> None:
        self._met_at: float | None = None

    def met(self) -> bool:
        """Whether this is news."""
        before, self._met_at = self._met_at, time.monotonic()
        # Loops that ended in an outage have not told its end.
        return before is None or self._met_at - before > _OUTAGE_FORGOTTEN_SECONDS

    def over(self) -> bool:
        """Whether this is news."""
        before, self._met_at = self._met_at, None
        return before is not None


_outage = _SharedNews()
# Loops that failed for a reason of their own.
_failing: set[str] = set()


def log_failed_tick(name: str, error: Exception, *, first: bool) -> None:
    """A warning for the first failure in a row, debug for the others.

    An outage of the database is one line, however many loops meet it.
    """
    outage = trouble.is_outage(error)
    if not outage:
        _failing.add(name)
    text = f"{type(error).__name__}: {error}"
    if _outage.met() if outage else first:
        log.warning("loop_tick_failed", loop=name, error=text, exc_info=not _is_plain(error))
    else:
        log.debug("loop_tick_failed", loop=name, error=text)


def log_recovered(name: str) -> None:
    """A loop works again whose ticks had failed."""
    back, alone = _outage.over(), name in _failing
    _failing.discard(name)
    if back or alone:
        log.info("loop_recovered", loop=name)
    else:
        log.debug("loop_recovered", loop=name)


def _is_plain(error: Exception) -> bool:
    """Errors that say all there is to say without a traceback."""
    return trouble.is_outage(error) or bool(trouble.sqlstate(error))
