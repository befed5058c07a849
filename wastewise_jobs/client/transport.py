"""One HTTP request to the service, repeated where repeating is safe.

A request is repeated when nothing was sent yet (the connection was refused), and, when the caller
says that doing it twice is harmless, also after a broken connection and after 429, 502, 503, 504.
`Retry-After` is honoured within the budget; the number and the time of repeats are bounded.
"""

import asyncio
import io
import os
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from wastewise_jobs.client.errors import (
    ClientError,
    ServiceUnreachableError,
    UnexpectedAnswerError,
    problem_error,
)
from wastewise_jobs.retry_after import http_date, retry_after

MOST_BYTES = 128 * 1024 * 1024
REPEATABLE_STATUSES = frozenset({429, 502, 503, 504})
_FIRST_ERROR_STATUS = 400
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - the JSON edge
        """The body as JSON; raises UnexpectedAnswerError when it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise UnexpectedAnswerError(self.status, "the body is not JSON") from error


class Transport:
    """Owns the connections to one service. Use as an async context manager.

    Redirects are not followed: the token goes to `base_url` and nowhere else.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None,
        *,
        timeout_seconds: float = 30.0,
        most_attempts: int = 5,
        budget_seconds: float = 30.0,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._token = token
        self._timeout_seconds = timeout_seconds
        self._most_attempts = most_attempts
        self._budget_seconds = budget_seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"Accept": "application/json", "User-Agent": "wastewise-jobs-client"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
            auto_decompress=True,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool,
        params: Mapping[str, str] | list[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        extra_seconds: float = 0.0,
    ) -> Answer:
        """Ask, and ask again where that is safe.

        Raises ProblemError for what the service refuses, ServiceUnreachableError when no answer
        came. `extra_seconds` is how much longer than usual this answer may take (long polls).
        """
        give_up_at = time.monotonic() + self._budget_seconds + extra_seconds
        for attempt in range(1, self._most_attempts + 1):
            try:
                async with asyncio.timeout(self._timeout_seconds + extra_seconds):
                    answer = await self._once(method, path, params, headers or {}, data)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                pause = _backoff(attempt)
                last = attempt == self._most_attempts or time.monotonic() + pause > give_up_at
                if last or not (repeatable or isinstance(error, aiohttp.ClientConnectorError)):
                    raise ServiceUnreachableError(self.base_url, reason_of(error)) from error
            else:
                if answer.status < _FIRST_ERROR_STATUS:
                    return answer
                pause = max(_retry_after_seconds(answer.headers), _backoff(attempt))
                last = attempt == self._most_attempts or time.monotonic() + pause > give_up_at
                if last or not repeatable or answer.status not in REPEATABLE_STATUSES:
                    raise _error_of(answer)
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | list[tuple[str, str]] | None,
        headers: Mapping[str, str],
        data: bytes | None,
    ) -> Answer:
        async with self._open().request(
            method,
            self._url(path),
            params=params,
            headers=headers,
            # As a file: aiohttp sends those in parts, and warns of large bodies in one piece.
            data=None if data is None else io.BytesIO(data),
            allow_redirects=False,
        ) as response:
            _refuse_redirect(response)
            return Answer(response.status, response.headers, await _read(response))

    @asynccontextmanager
    async def stream(
        self, path: str, *, headers: Mapping[str, str], silence_seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is read as it comes; broken off after `silence_seconds` without a byte."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=silence_seconds)
        async with self._open().get(
            self._url(path), headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            _refuse_redirect(response)
            if response.status >= _FIRST_ERROR_STATUS:
                body = await _read(response)
                raise _error_of(Answer(response.status, response.headers, body))
            yield response

    def _url(self, path: str) -> URL:
        # Paths arrive quoted: a file name may hold a slash.
        return URL(self.base_url + path, encoded=True)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use the client in `async with`")
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(1 << 16):
        size += len(part)
        if size > MOST_BYTES:
            raise UnexpectedAnswerError(response.status, f"longer than {MOST_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _refuse_redirect(response: aiohttp.ClientResponse) -> None:
    first_redirect, first_error = 300, _FIRST_ERROR_STATUS
    if first_redirect <= response.status < first_error:
        target = response.headers.get("Location", "nowhere")
        raise UnexpectedAnswerError(response.status, f"redirected to {target}; is the URL right?")


def _error_of(answer: Answer) -> ClientError:
    try:
        problem = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        problem = None
    if not isinstance(problem, dict):
        return UnexpectedAnswerError(answer.status, "no problem details in it; is the URL right?")
    return problem_error(answer.status, problem)


def _retry_after_seconds(headers: Mapping[str, str]) -> float:
    # Against the answer's own Date: the service's clock need not be ours.
    asked = retry_after(headers.get("Retry-After"), now=http_date(headers.get("Date", "")))
    return 0.0 if asked is None else asked.total_seconds()


def _backoff(attempt: int) -> float:
    pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 1))
    return pause * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, guards nothing


def reason_of(error: BaseException) -> str:
    """Why no answer came, in a few words."""
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, aiohttp.ClientSSLError):
        cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", error)
        return f"TLS failed: {getattr(cause, 'reason', None) or cause}".lower()
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0
        # A name that is not found has a number of the resolver's.
        return (os.strerror(number) if number > 0 else str(error.os_error.strerror)).lower()
    return str(error) or type(error).__name__
