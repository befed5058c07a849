"""A dispatcher under test, and what was told by it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from tests.support.factories import claim, enqueue, make_job
from tests.support.receivers import Receiver
from wastewise_jobs.alerts.dispatcher import Dispatcher
from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.model import AlertPolicy
from wastewise_jobs.alerts.store import AlertStore
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.outcome import Failed
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.outbound import Outbound
from wastewise_jobs.service.alerts import make_channels
from wastewise_jobs.settings import Settings, load_settings

LINKS = AlertLinks("https://jobs.example.com", b"k" * 32)


def channel_settings(url: str, **more: Any) -> Settings:
    values = {
        "resend_api_key": "re_test",
        "resend_api_url": url,
        "email_from": "WasteWise <alerts@example.com>",
        "admin_email": "a@example.com, b@example.com",
        "slack_webhook_url": f"{url}/services/T0/B0/secret",
        "pagerduty_key": "R" * 32,
        "pagerduty_events_url": url,
    }
    return load_settings(env_file=None, **(values | more))


@asynccontextmanager
async def dispatching(
    pool: Pool,
    settings: Settings,
    policy: AlertPolicy | None = None,
    timeout_seconds: float = 15.0,
) -> AsyncIterator[Dispatcher]:
    """A dispatcher that runs, and ends without an error."""
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(Outbound(timeout_seconds=timeout_seconds))
        dispatcher = Dispatcher(
            store=AlertStore(pool),
            channels=make_channels(settings, http, LINKS),
            policy=policy or AlertPolicy(),
            interval=timedelta(milliseconds=20),
        )
        running = asyncio.create_task(dispatcher.run())
        try:
            yield dispatcher
        finally:
            dispatcher.stop()
            await asyncio.wait_for(running, 20)


async def fail_jobs(pool: Pool, *messages: str) -> list[UUID]:
    store = JobStore(pool)
    await enqueue(store, *(make_job() for _ in messages))
    jobs = await claim(store, len(messages))
    await store.fail(
        [(job, Failed("BAD_FILE", m, "permanent")) for job, m in zip(jobs, messages, strict=True)]
    )
    return [job.id for job in jobs]


async def raise_one(
    pool: Pool, name: str = "w1", severity: str = "critical", kind: str = "high_error_rate"
) -> UUID:
    alert_id: UUID = await pool.fetchval(
        "SELECT raise_alert($1, $2, $3, '40 % of the jobs failed')",
        f"{kind}:{name}",
        kind,
        severity,
    )
    return alert_id


def mails(outside: Receiver) -> list[dict[str, Any]]:
    return [body for body in outside.taken if "subject" in body]


def posts(outside: Receiver) -> list[dict[str, Any]]:
    return [body for body in outside.taken if "blocks" in body]


def events(outside: Receiver) -> list[str]:
    return [body["event_action"] for body in outside.taken if "event_action" in body]


async def statuses(pool: Pool) -> dict[str, str]:
    rows = await pool.fetch("SELECT channel, status FROM job_alert_deliveries")
    return {row["channel"]: row["status"] for row in rows}


async def delivered(pool: Pool, *channels: str) -> bool:
    return await statuses(pool) == dict.fromkeys(channels, "delivered")


async def history(pool: Pool) -> list[tuple[str, str | None]]:
    rows = await pool.fetch("SELECT event, channel FROM job_alert_history ORDER BY created_at")
    return [(row["event"], row["channel"]) for row in rows]


async def come_due(pool: Pool) -> None:
    """Let the time pass that retries, pauses and reminders wait for."""
    await pool.execute(
        "UPDATE job_alert_deliveries SET due_after = now() WHERE status = 'pending';"
        "UPDATE job_alert_channels SET paused_until = NULL;"
        "UPDATE job_alerts SET tell_after = now() WHERE tell_after IS NOT NULL"
    )


async def was_recorded(pool: Pool, event: str, times: int) -> bool:
    return [name for name, _ in await history(pool)].count(event) == times


async def statuses_are(pool: Pool, wanted: dict[str, str]) -> bool:
    return await statuses(pool) == wanted
