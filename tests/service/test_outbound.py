"""What goes out goes by the proxy of the settings, and nothing else does."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from tests.support.waiting import eventually
from wastewise_jobs.alert_names import AlertStatus, Severity
from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.model import Alert, AlertId, Message, Notice, NotSent, Told
from wastewise_jobs.maintenance.ping import Ping
from wastewise_jobs.outbound import NoReplyError, Outbound, Proxies
from wastewise_jobs.service.alerts import make_channels, proxies_of
from wastewise_jobs.settings import Settings
from wastewise_jobs.web.access.jwks import JwksKeys
from wastewise_jobs.web.access.tokens import InvalidTokenError

SECRET = "hunter2"


@dataclass
class LocalProxy:
    """Writes down what it is asked for, and refuses to pass it on."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    status: str = "502 Bad Gateway"

    @property
    def url(self) -> str:
        return f"http://user:{SECRET}@127.0.0.1:{self.port}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.asked.append(head[0].removesuffix(" HTTP/1.1"))
        for line in head:
            name, _, value = line.partition(": ")
            if name.lower() == "proxy-authorization":
                self.logins.append(base64.b64decode(value.removeprefix("Basic ")).decode())
        writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def local_proxy() -> AsyncIterator[LocalProxy]:
    proxy = LocalProxy()
    server = await asyncio.start_server(proxy.answer, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy


def settings_with(proxy: LocalProxy, **more: object) -> Settings:
    given: dict[str, object] = {
        "https_proxy": proxy.url,
        "http_proxy": proxy.url,
        "resend_api_key": "re_1",
        "resend_api_url": "https://resend.example",
        "email_from": "a@b.example",
        "admin_email": "c@d.example",
        "slack_webhook_url": "https://slack.example/x",
        "pagerduty_key": "key",
        "pagerduty_events_url": "https://pagerduty.example",
        **more,
    }
    return Settings(_env_file=None, **given)  # type: ignore[arg-type]


def message() -> Message:
    now = datetime.now(UTC)
    alert = Alert(
        id=AlertId(uuid4()),
        job_id=None,
        alert_type="test",
        severity=Severity.CRITICAL,
        status=AlertStatus.OPEN,
        message="nothing",
        details={},
        occurrences=1,
        created_at=now,
        last_seen_at=now,
    )
    return Message([Told(alert, Notice.RAISED)], f"test.{alert.id}")


async def by_channel(proxy: LocalProxy, name: str) -> None:
    settings = settings_with(proxy)
    links = AlertLinks("https://public.example", b"k" * 32)
    async with Outbound(proxies=proxies_of(settings)) as http:
        (channel,) = [one for one in make_channels(settings, http, links) if one.name == name]
        outcome = await channel.send(message())
        assert outcome == NotSent("the proxy refused with 502")


async def by_key_set(proxy: LocalProxy) -> None:
    keys = JwksKeys("https://issuer.example/keys", proxies=proxies_of(settings_with(proxy)))
    with pytest.raises(InvalidTokenError):
        await keys.key_for({"kid": "x"})
    await keys.close()


async def by_ping(proxy: LocalProxy) -> None:
    await Ping("https://ping.example/x", proxies=proxies_of(settings_with(proxy))).send()


async def by_plain_http(proxy: LocalProxy) -> None:
    async with Outbound(proxies=proxies_of(settings_with(proxy))) as http:
        assert (await http.get("http://plain.example/y")).status == 502


CALLS: dict[str, Callable[[LocalProxy], Awaitable[None]]] = {
    "CONNECT slack.example:443": lambda proxy: by_channel(proxy, "slack"),
    "CONNECT pagerduty.example:443": lambda proxy: by_channel(proxy, "pagerduty"),
    "CONNECT resend.example:443": lambda proxy: by_channel(proxy, "email"),
    "CONNECT issuer.example:443": by_key_set,
    "CONNECT ping.example:443": by_ping,
    "GET http://plain.example/y": by_plain_http,
}


@pytest.mark.parametrize("asked", CALLS)
async def test_every_call_goes_by_the_proxy_with_its_login_and_no_log_tells_it(asked: str) -> None:
    async with local_proxy() as proxy:
        with capture_logs() as logs:
            await CALLS[asked](proxy)
        assert proxy.asked == [asked]
        assert proxy.logins == [f"user:{SECRET}"]
        assert SECRET not in str(logs)


async def test_a_proxy_that_is_not_there_or_wants_another_login_is_told_without_its_address() -> (
    None
):
    async with local_proxy() as proxy:
        proxy.status = "407 Proxy Authentication Required"
        there = Proxies(https=proxy.url)
        async with Outbound(proxies=there) as http:
            with pytest.raises(NoReplyError, match=r"^the proxy refused with 407$"):
                await http.get("https://slack.example/")
    async with Outbound(proxies=there) as http:
        with pytest.raises(NoReplyError, match=r"^cannot connect to the proxy$"):
            await http.get("https://slack.example/")


async def test_this_machine_is_reached_without_a_proxy() -> None:
    async with local_proxy() as proxy, local_proxy() as target:
        proxies = Proxies(http=proxy.url, https=proxy.url)
        async with Outbound(proxies=proxies) as http:
            await http.get(f"http://127.0.0.1:{target.port}/z")
        await eventually(lambda: target.asked == ["GET /z"])
        assert proxy.asked == []


PROXIES = Proxies(
    http="http://plain:1",
    https="http://safe:2",
    exceptions=(
        "b.example",
        ".c.example",
        "*.d.example",
        "10.0.0.0/8",
        "e.example:8443",
        "fd00::1",
    ),
)


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://a.example/", "http://plain:1"),
        ("https://a.example/", "http://safe:2"),
        ("https://b.example/", None),
        ("https://B.example.:443/", None),
        ("https://x.b.example/", None),
        ("https://notb.example/", "http://safe:2"),
        ("https://c.example/", None),
        ("https://x.c.example/", None),
        ("https://x.d.example/", None),
        ("https://10.1.2.3/", None),
        ("https://11.1.2.3/", "http://safe:2"),
        ("https://e.example/", "http://safe:2"),
        ("https://e.example:8443/", None),
        ("https://[fd00::1]/", None),
        ("https://[fd00::2]/", "http://safe:2"),
        ("http://localhost:9/", None),
        ("https://127.5.5.5/", None),
        ("https://[::1]/", None),
    ],
)
def test_the_way_depends_on_scheme_and_host(url: str, proxy: str | None) -> None:
    assert PROXIES.of(url) == proxy
    assert Proxies(https="http://safe:2", exceptions=("*",)).of(url) is None
    assert "safe" not in repr(PROXIES)
