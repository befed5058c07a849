"""The one HTTP client for whatever we call that is not ours: mail, chat and paging services.

Addresses come from the settings alone, never from a job, and so do the proxies on the way. No
redirect is followed, no cookie is kept, at most 64 KiB of an answer are read, and everything has a
limit in time. What an error says never holds an address: its path or its login may be the secret.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

import aiohttp

from wastewise_jobs.errors import WastewiseJobsError
from wastewise_jobs.retry_after import retry_after
from wastewise_jobs.setting_values import is_loopback

MOST_BYTES = 64 * 1024
_LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy leads to an address: by its scheme, never to this machine, nor to `exceptions`.

    An exception is a name with all below it, an IP address, a network, each maybe with a port, or
    `*` for everything.
    """

    http: str | None = field(default=None, repr=False)
    https: str | None = field(default=None, repr=False)
    exceptions: tuple[str, ...] = ()

    def of(self, url: str) -> str | None:
        """The proxy for this address; None is the straight way."""
        parts = urlsplit(url)
        proxy = self.https if parts.scheme == "https" else self.http
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if proxy is None or is_loopback(host):
            return None
        return None if any(_matches(one, host, port) for one in self.exceptions) else proxy


NO_PROXIES = Proxies()


def _matches(exception: str, host: str, port: int) -> bool:
    if exception == "*":
        return True
    with suppress(ValueError):
        address = ip_address(host)
        with suppress(ValueError):
            return address in ip_network(exception.strip("[]"), strict=False)
    name, colon, only_port = exception.rpartition(":")
    if not colon or not only_port.isdecimal():
        name, only_port = exception, ""
    if only_port and int(only_port) != port:
        return False
    name = name.strip("[]").removeprefix("*").lstrip(".").rstrip(".").lower()
    return bool(name) and (host == name or host.endswith(f".{name}"))


class NoReplyError(WastewiseJobsError):
    """Nothing answered in time, or what answered was no HTTP."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever its status; `body` is its beginning."""

    status: int
    body: str
    retry_after_seconds: float | None


class Outbound:
    """Owns the connections. Use as an async context manager."""

    def __init__(self, *, timeout_seconds: float = 15.0, proxies: Proxies = NO_PROXIES) -> None:
        self._proxies = proxies
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"User-Agent": "wastewise-jobs"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(
        self, url: str, body: bytes, *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Post JSON; raises NoReplyError when there is no answer to read."""
        given = {"Content-Type": "application/json", **(headers or {})}
        return await self._ask("POST", url, body, given)

    async def get(self, url: str) -> Reply:
        """Ask; raises NoReplyError when there is no answer to read."""
        return await self._ask("GET", url, None, {})

    async def _ask(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Reply:
        if self._session is None:
            raise RuntimeError("the client is not open")
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._session.request(
                    method,
                    url,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    proxy=self._proxies.of(url),
                ) as response,
            ):
                text = await response.content.read(MOST_BYTES)
                return Reply(
                    response.status,
                    text.decode("utf-8", errors="replace"),
                    _seconds_of(
                        retry_after(response.headers.get("Retry-After"), longest=_LONGEST_PAUSE)
                    ),
                )
        except TimeoutError:
            raise NoReplyError(f"no answer within {self._timeout_seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoReplyError(_reason(error)) from None


def _seconds_of(delay: timedelta | None) -> float | None:
    return None if delay is None else delay.total_seconds()


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy refused with {error.status}"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return "cannot connect to the proxy"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error.strerror or type(error.os_error).__name__}"
    return type(error).__name__
