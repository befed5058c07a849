"""Clients of the API that keep every answer, and repeat a request until it is acknowledged."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import jwt
import orjson
from yarl import URL

SECRET = "chaos harness, a secret that is long enough"  # noqa: S105 - of a server that lives for minutes
USER = UUID("c4a05c4a-0000-4000-8000-000000000001")
_REPEAT_SECONDS = 0.1
_LIMIT_SECONDS = 60.0
_CONNECTIONS = 64
_SUCCESS = (200, 201, 202, 204)
# What a repeated request may hear: it is done already.
_EXPECTED = (404, 409)
_UNAVAILABLE = 503


def token(user: UUID = USER, *, admin: bool = False) -> str:
    """A bearer token."""
    claims = {"sub": str(user), "aud": "authenticated", "exp": 4_000_000_000}
    role = {"app_metadata": {"role": "admin"}} if admin else {}
    return jwt.encode({**claims, **role}, SECRET, algorithm="HS256")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the API; status 0 stands for a connection that broke."""

    status: int
    headers: Mapping[str, str]
    body: Any
    at: float


@dataclass(slots=True)
class Clients:
    """Everything that was asked of the API and everything it answered."""

    url: str
    session: aiohttp.ClientSession
    acks: list[tuple[UUID, str | None]] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    # Answers that are neither a success nor an honest "come back later".
    dishonest: list[str] = field(default_factory=list)
    successes: list[float] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def request(self, method: str, path: str, **options: Any) -> Reply:
        """One request and its answer, whatever it is."""
        try:
            # As it was given: nothing in the path is made nicer on the way.
            url = URL(self.url + path, encoded=True)
            async with self.session.request(method, url, **options) as response:
                body = await response.read()
                if response.content_type.endswith("json"):
                    body = orjson.loads(body)
                reply = Reply(response.status, response.headers, body, time.monotonic())
        except (aiohttp.ClientError, TimeoutError) as error:
            reply = Reply(0, {}, f"{type(error).__name__}: {error}", time.monotonic())
        self._note(method, path, reply)
        return reply

    async def analyze(
        self, key: str, *, job_type: str = "work", run_at: str | None = None, **given: object
    ) -> Reply:
        """Ask for a job once."""
        body: dict[str, object] = {"jobType": job_type, "inputData": {**given, "key": key}}
        if run_at is not None:
            body["runAt"] = run_at
        headers = {"Idempotency-Key": key}
        return await self.request("POST", "/api/analyze", json=body, headers=headers)

    async def enqueue(self, job_type: str, *, key: str | None = None, **given: Any) -> UUID:
        """A job, however often it must be asked for; the key makes it one job."""
        key = key or f"key-{next(self._numbers)}"
        while True:
            reply = await self.analyze(key, job_type=job_type, **given)
            if reply.status in _SUCCESS:
                job_id = UUID(reply.body["jobId"])
                self.acks.append((job_id, key))
                return job_id
            await asyncio.sleep(_REPEAT_SECONDS)

    def _note(self, method: str, path: str, reply: Reply) -> None:
        self.answers[str(reply.status or "no answer")] += 1
        if reply.status in _SUCCESS or reply.status in _EXPECTED:
            self.successes.append(reply.at)
        elif reply.status != _UNAVAILABLE or "Retry-After" not in reply.headers:
            self.dishonest.append(f"{method} {path}: {reply.status} {str(reply.body)[:200]}")


def new_session(*, connections: int = _CONNECTIONS) -> aiohttp.ClientSession:
    """A session that speaks as the harness's user."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=_LIMIT_SECONDS),
        headers={"Authorization": f"Bearer {token()}"},
    )
