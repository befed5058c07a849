"""How every long-running loop lives: it beats, and a failing tick only slows it down."""

import random
import time
from dataclasses import dataclass, field

import asyncpg

from wastewise_jobs.logs import get_logger

log = get_logger(__name__)


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


def log_failed_tick(name: str, error: Exception, *, first: bool) -> None:
    """A warning for the first failure in a row, debug for the others: an outage is one line."""
    text = f"{type(error).__name__}: {error}"
    if first:
        log.warning("loop_tick_failed", loop=name, error=text, exc_info=not _is_outage(error))
    else:
        log.debug("loop_tick_failed", loop=name, error=text)


def _is_outage(error: Exception) -> bool:
    """Errors that say all there is to say without a traceback."""
    broken = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    return isinstance(error, broken) or hasattr(error, "sqlstate")
