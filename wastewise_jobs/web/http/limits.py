"""Limits per user, kept in this process: what is created a minute, and what goes on at once."""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from aiohttp import web

from wastewise_jobs.web.http.caller import Caller
from wastewise_jobs.web.http.problems import RATE_LIMITED, ProblemError, Refusal

RATE_HEADERS = web.RequestKey("rate_headers", dict)
_SECONDS = 60.0
# Sums of intervals are not exact.
_ROUNDING = 1e-6
_SWEEP_AT = 10_000


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether one more is let in; the times are seconds from now."""

    admitted: bool
    remaining: int
    retry_after: float
    reset_after: float


class Gcra:
    """The generic cell rate algorithm: `per_minute` at once, and then one as each comes free.

    One number per key: the moment at which all that was let in would have been paid off.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._interval = _SECONDS / per_minute
        self._clock = clock
        self._paid_off_at: dict[UUID, float] = {}

    def admit(self, key: UUID) -> Admission:
        """Count one, unless it is one too many."""
        now = self._clock()
        paid_off_at = max(self._paid_off_at.get(key, now), now) + self._interval
        wait = paid_off_at - now - _SECONDS
        if wait > _ROUNDING:
            return Admission(False, 0, wait, paid_off_at - self._interval - now)
        self._sweep(now)
        self._paid_off_at[key] = paid_off_at
        remaining = int((_SECONDS - (paid_off_at - now)) / self._interval + _ROUNDING)
        return Admission(True, remaining, 0.0, paid_off_at - now)

    def give_back(self, key: UUID) -> Admission:
        """Count one less; whoever gives back was let in before."""
        now = self._clock()
        paid_off_at = max(self._paid_off_at.get(key, now) - self._interval, now)
        self._paid_off_at[key] = paid_off_at
        remaining = int((_SECONDS - (paid_off_at - now)) / self._interval + _ROUNDING)
        return Admission(True, remaining, 0.0, paid_off_at - now)

    def _sweep(self, now: float) -> None:
        if len(self._paid_off_at) >= _SWEEP_AT:
            self._paid_off_at = {k: at for k, at in self._paid_off_at.items() if at > now}


class RateLimit:
    """The limit on creations, with the headers that tell a client where it stands."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._gcra = Gcra(per_minute) if per_minute else None

    def admit(self, request: web.Request, caller: Caller) -> None:
        """Count one creation of the caller; raises ProblemError 429 when it is one too many."""
        if self._gcra is None:
            return
        admission = self._gcra.admit(caller.user_id)
        self._tell(request, admission)
        if not admission.admitted:
            seconds = max(1, math.ceil(admission.retry_after))
            raise ProblemError(
                RATE_LIMITED,
                f"at most {self._per_minute} jobs a minute; try again in {seconds} s",
                headers={"Retry-After": str(seconds)},
            )

    def give_back(self, request: web.Request, caller: Caller) -> None:
        """Uncount what was admitted: nothing was created."""
        if self._gcra is not None:
            self._tell(request, self._gcra.give_back(caller.user_id))

    def _tell(self, request: web.Request, admission: Admission) -> None:
        request[RATE_HEADERS] = {
            "X-RateLimit-Limit": str(self._per_minute),
            "X-RateLimit-Remaining": str(admission.remaining),
            "X-RateLimit-Reset": str(math.ceil(admission.reset_after)),
        }


class Gate:
    """So many at once for each user."""

    def __init__(self, most: int, refusal: Refusal, what: str) -> None:
        self._most = most
        self._refusal = refusal
        self._what = what
        self._inside: Counter[UUID] = Counter()

    @contextlib.contextmanager
    def enter(self, caller: Caller) -> Iterator[None]:
        """Hold one place; raises ProblemError when all of the caller's are taken."""
        if self._inside[caller.user_id] >= self._most:
            raise ProblemError(self._refusal, f"at most {self._most} {self._what} at once")
        self._inside[caller.user_id] += 1
        try:
            yield
        finally:
            self._inside[caller.user_id] -= 1
            if not self._inside[caller.user_id]:
                del self._inside[caller.user_id]


@dataclass(slots=True)
class _Places:
    free: asyncio.Semaphore
    wanted_by: int = 0


@dataclass(frozen=True, slots=True)
class Turns:
    """So many at once for each user; one too many waits, and keeps nobody else waiting."""

    most: int
    _of: dict[UUID, _Places] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def enter(self, caller: Caller) -> AsyncIterator[None]:
        """Hold one place, once it is free."""
        places = self._of.setdefault(caller.user_id, _Places(asyncio.Semaphore(self.most)))
        places.wanted_by += 1
        try:
            async with places.free:
                yield
        finally:
            places.wanted_by -= 1
            if not places.wanted_by:
                del self._of[caller.user_id]
