"""Is this process alive, and can it do its work? Public, so it tells words, never addresses."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from aiohttp import web

from wastewise_jobs.db import trouble
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.db.schema.migrate import check_schema
from wastewise_jobs.db.server import is_writable
from wastewise_jobs.errors import SchemaMismatchError
from wastewise_jobs.monitoring.reading import bounded_read
from wastewise_jobs.monitoring.unserved import unserved
from wastewise_jobs.web.api import tags
from wastewise_jobs.web.http.route import PUBLIC, Call, NoBody, NoParameters, Route, answer
from wastewise_jobs.wire.types import HealthAnswer

_LOOK_SECONDS = 5.0
# Anybody may ask; the database is asked once a second at most.
_REMEMBERED_SECONDS = 1.0
_WORK = "work"
_WORK_SECONDS = 1.0


class HealthResource:
    """The handlers of /livez and /readyz.

    `late_loops` names the loops of this process that have not ticked for three intervals;
    `listener` says in a word how the LISTEN connection is, None where there is none. Without a
    listener only latency is lost, and work that no worker carries is no fault of this process:
    both are shown and decide nothing.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        late_loops: Callable[[], Sequence[str]],
        listener: Callable[[], str] | None,
        silent_after: timedelta = timedelta(minutes=5),
    ) -> None:
        self._pool = pool
        self._silent_after = silent_after
        self._late_loops = late_loops
        self._listener = listener
        self._looking = asyncio.Lock()
        self._seen: dict[str, str] = {}
        self._seen_at: float | None = None
        self._stopping = False

    def stop(self) -> None:
        """Send new requests elsewhere: from now on this process is not ready."""
        self._stopping = True

    async def livez(self, call: Call[NoParameters, NoParameters, NoBody]) -> web.StreamResponse:
        """200 while every loop of the process ticks."""
        del call
        late = dict.fromkeys(self._late_loops(), "late")
        body = HealthAnswer(status="late" if late else "alive", checks=late)
        return answer(body, status=503 if late else 200)

    async def readyz(self, call: Call[NoParameters, NoParameters, NoBody]) -> web.StreamResponse:
        """200 while the database can be written and has the right schema."""
        del call
        checks = dict(await self._checks())
        good = all(value == "ok" for name, value in checks.items() if name != _WORK)
        if self._listener is not None:
            checks["listener"] = self._listener()
        status = "stopping" if self._stopping else "ready" if good else "not_ready"
        body = HealthAnswer(status=status, checks=checks)
        return answer(body, status=200 if status == "ready" else 503)

    async def _checks(self) -> dict[str, str]:
        async with self._looking:
            now = time.monotonic()
            if self._seen_at is None or now - self._seen_at > _REMEMBERED_SECONDS:
                self._seen = await self._look()
                self._seen_at = time.monotonic()
        return self._seen

    async def _look(self) -> dict[str, str]:
        try:
            async with asyncio.timeout(_LOOK_SECONDS), self._pool.acquire() as connection:
                writable = await is_writable(connection)
                await check_schema(connection)
        except SchemaMismatchError:
            return {"database": "ok", "schema": "mismatch"}
        except trouble.ERRORS as error:
            return {"database": "unreachable" if trouble.is_passing(error) else "unusable"}
        seen = {"database": "ok" if writable else "read_only", "schema": "ok"}
        return {**seen, **await self._work()}

    async def _work(self) -> dict[str, str]:
        """A word where there is work that nobody can do: what it is called is not for everybody."""
        try:
            async with asyncio.timeout(_WORK_SECONDS), bounded_read(self._pool) as connection:
                return {_WORK: "unserved"} if await unserved(connection, self._silent_after) else {}
        except trouble.ERRORS:
            return {}


def routes(health: HealthResource) -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            "/livez",
            health.livez,
            PUBLIC,
            "Is the process alive?",
            answers={200: HealthAnswer, 503: HealthAnswer},
            tag=tags.SERVICE,
        ),
        Route(
            "GET",
            "/readyz",
            health.readyz,
            PUBLIC,
            "Can it do its work?",
            answers={200: HealthAnswer, 503: HealthAnswer},
            tag=tags.SERVICE,
        ),
    )
