"""The alerts of a process as its settings say: its channels, and who is told of what.

What a channel needs is imported where it is configured: a worker without any starts sooner.
"""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

from wastewise_jobs.alert_names import PAGERDUTY, AlertStatus, Severity
from wastewise_jobs.alerts.dispatcher import Dispatcher, send
from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.model import (
    DEFAULT_ROUTES,
    Alert,
    AlertId,
    AlertPolicy,
    Channel,
    Message,
    Notice,
    SendOutcome,
    Sent,
    Told,
)
from wastewise_jobs.alerts.store import AlertStore
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.setting_values import is_loopback
from wastewise_jobs.settings import Settings

if TYPE_CHECKING:
    from wastewise_jobs.outbound import Outbound, Proxies


@asynccontextmanager
async def open_dispatcher(settings: Settings, pool: Pool) -> AsyncIterator[Dispatcher]:
    """A dispatcher; its connections are closed at the end."""
    store = AlertStore(pool)
    policy = AlertPolicy(
        routes={**DEFAULT_ROUTES, **settings.alert_routes},
        repeat_after=timedelta(minutes=settings.alert_repeat_minutes),
    )
    if not settings.channels:
        yield Dispatcher(store=store, channels=(), policy=policy)
        return
    from wastewise_jobs.outbound import Outbound

    links = await open_links(settings, store)
    async with Outbound(proxies=proxies_of(settings)) as http:
        channels = make_channels(settings, http, links)
        yield Dispatcher(store=store, channels=channels, policy=policy)


async def send_test(settings: Settings, store: AlertStore) -> dict[str, SendOutcome]:
    """Send a test through every configured channel; no row is written, no ceiling counts it."""
    from wastewise_jobs.outbound import Outbound

    now = datetime.now(UTC)
    test = Alert(
        id=AlertId(uuid4()),
        job_id=None,
        alert_type="test",
        severity=Severity.CRITICAL,
        status=AlertStatus.OPEN,
        message=(
            "This is a test: nothing is wrong. Its button should lead to this service, "
            "which answers that there is no such alert."
        ),
        details={"host": socket.gethostname()},
        occurrences=1,
        created_at=now,
        last_seen_at=now,
    )
    raised = Message([Told(test, Notice.RAISED)], f"test.{test.id}")
    resolved = Message([Told(test, Notice.RESOLVED)], f"test.{test.id}.resolved")
    links = await open_links(settings, store)
    outcomes: dict[str, SendOutcome] = {}
    async with Outbound(proxies=proxies_of(settings)) as http:
        for channel in make_channels(settings, http, links):
            outcomes[channel.name] = await send(channel, lambda: raised)
            if channel.name == PAGERDUTY and outcomes[channel.name] == Sent():
                # Whoever was paged need not close it.
                outcomes[channel.name] = await send(channel, lambda: resolved)
    return outcomes


def proxies_of(settings: Settings) -> "Proxies":
    """The proxies that the settings name."""
    from wastewise_jobs.outbound import Proxies

    return Proxies(
        http=settings.http_proxy.get_secret_value() if settings.http_proxy else None,
        https=settings.https_proxy.get_secret_value() if settings.https_proxy else None,
        exceptions=settings.no_proxy,
    )


async def open_links(settings: Settings, store: AlertStore) -> AlertLinks:
    """Links under PUBLIC_URL, signed with the key that all processes share."""
    public_url = settings.public_url or f"http://{settings.host}:{settings.port}"
    return AlertLinks(public_url, await store.link_key())


def make_channels(settings: Settings, http: "Outbound", links: AlertLinks) -> Sequence[Channel]:
    channels: list[Channel] = []
    if settings.admin_email is not None:
        channels.append(_email(settings, http, links))
    if settings.slack_webhook_url is not None:
        from wastewise_jobs.alerts.channels.slack import SlackChannel

        channels.append(
            SlackChannel(
                http,
                webhook_url=settings.slack_webhook_url.get_secret_value(),
                links=links,
                per_hour=settings.slack_max_per_hour,
            )
        )
    if settings.pagerduty_key is not None:
        from wastewise_jobs.alerts.channels.pagerduty import PagerDutyChannel

        channels.append(
            PagerDutyChannel(
                http,
                events_url=settings.pagerduty_events_url,
                routing_key=settings.pagerduty_key.get_secret_value(),
                links=links,
                per_hour=settings.pagerduty_max_per_hour,
            )
        )
    return channels


def _email(settings: Settings, http: "Outbound", links: AlertLinks) -> Channel:
    sender = settings.email_from or ""
    receivers = [part.strip() for part in (settings.admin_email or "").split(",")]
    if settings.smtp_url is not None:
        from wastewise_jobs.alerts.channels.smtp import SmtpChannel

        url = settings.smtp_url.get_secret_value()
        return SmtpChannel(
            url,
            sender=sender,
            receivers=receivers,
            links=links,
            per_hour=settings.email_max_per_hour,
            local=is_loopback(urlsplit(url).hostname),
        )
    from wastewise_jobs.alerts.channels.resend import ResendChannel

    return ResendChannel(
        http,
        api_url=settings.resend_api_url,
        api_key=settings.resend_api_key.get_secret_value() if settings.resend_api_key else "",
        sender=sender,
        receivers=receivers,
        links=links,
        per_hour=settings.email_max_per_hour,
    )
