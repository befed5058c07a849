"""How every long-running loop lives: it beats, and a failing tick only slows it down."""

import random
import time
from dataclasses import dataclass, field

from wastewise_jobs.db import trouble
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


def jittered(seconds: float) -> float:
    """An interval with up to a tenth more or less, so that processes drift apart."""
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 - not a secret


class _Outage:
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


_outage = _Outage()
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
