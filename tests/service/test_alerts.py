"""Alerts on their way: the outbox, the dispatcher and the channels, with receivers beyond HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.factories import claim, enqueue, make_job
from tests.receivers import MailServer, Receiver, mail_server, receiver
from tests.support import eventually
from wastewise_jobs.alerting import make_channels
from wastewise_jobs.alerts.dispatcher import Dispatcher
from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.model import AlertPolicy
from wastewise_jobs.alerts.store import AlertStore
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.outcome import Completed, Failed
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.outbound import Outbound
from wastewise_jobs.settings import Settings, load_settings

LINKS = AlertLinks("https://jobs.example.com", b"k" * 32)
EVIL = "<!channel> <https://evil.example|Retry> <b>&amp;</b> ```\r\nBcc: all@example.com `x`"
Dispatch = Callable[..., Awaitable[None]]


@pytest.fixture
async def outside() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


@pytest.fixture
def settings(outside: Receiver) -> Settings:
    return channel_settings(outside.url)


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


async def test_a_failed_job_is_told_once_by_mail_and_in_slack(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    async with dispatching(pool, settings):
        (job_id,) = await fail_jobs(pool, "row 12 is no number")
        await eventually(lambda: delivered(pool, "email", "slack"))
    (mail,), (post,) = mails(outside), posts(outside)
    assert mail["from"] == "WasteWise <alerts@example.com>"
    assert mail["to"] == ["a@example.com", "b@example.com"]
    assert mail["subject"] == "WasteWise [error] Job failed: complete_analysis"
    job_url = f"https://jobs.example.com/api/jobs/{job_id}"
    for text in (mail["text"], mail["html"]):
        assert "row 12 is no number" in text
        assert job_url in text
        assert "https://jobs.example.com/alerts/" in text
    assert post["blocks"][0]["text"]["text"] == "🟠 Job failed: complete_analysis"
    assert [button["url"] for button in post["blocks"][-1]["elements"]][1] == job_url
    row = await pool.fetchrow("SELECT notified_at, notification_channels FROM job_alerts")
    assert row is not None
    assert row["notified_at"] is not None
    assert sorted(row["notification_channels"]) == ["email", "slack"]


async def test_no_text_of_a_job_mentions_anybody_or_leaves_its_place(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    async with dispatching(pool, settings):
        await fail_jobs(pool, EVIL)
        await eventually(lambda: delivered(pool, "email", "slack"))
    (mail,), (post,) = mails(outside), posts(outside)
    assert "<b>" not in mail["html"]
    assert "&lt;!channel&gt;" in mail["html"]
    assert "Bcc" not in mail["subject"]
    section = post["blocks"][1]["text"]["text"]
    assert section.startswith("```&lt;!channel&gt; &lt;https://evil.example|Retry&gt;")
    assert "&amp;amp;" in section
    assert section.count("```") == 2


async def test_an_error_that_grows_when_it_is_escaped_still_fits_into_slack(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    async with dispatching(pool, settings):
        await fail_jobs(pool, "&" * 5000)
        await eventually(lambda: delivered(pool, "email", "slack"))
    text = posts(outside)[0]["blocks"][1]["text"]["text"]
    assert 2800 < len(text) <= 3000
    assert text.endswith("&amp;```")


async def test_secrets_in_an_error_are_not_told(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    await pool.execute(
        "SELECT raise_alert('x', 'high_error_rate', 'critical', "
        "'postgresql://me:hunter22@db/x and https://hooks.slack.com/services/T/B/sesame')"
    )
    async with dispatching(pool, settings):
        await eventually(lambda: delivered(pool, "email", "slack", "pagerduty"))
    said = str([one.body for one in outside.arrived])
    assert "***" in said
    assert "hunter22" not in said
    assert "sesame" not in said


async def test_pagerduty_hears_of_the_whole_life_under_one_key(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    store = AlertStore(pool)
    async with dispatching(pool, settings):
        alert_id = await raise_one(pool)
        await eventually(lambda: delivered(pool, "email", "slack", "pagerduty"))
        await store.acknowledge(alert_id, by=uuid4(), actor="a test")
        await eventually(lambda: events(outside) == ["trigger", "acknowledge"])
        await store.resolve(alert_id, actor="a test")
        await eventually(lambda: events(outside) == ["trigger", "acknowledge", "resolve"])
        await eventually(lambda: len(mails(outside)) == len(posts(outside)) == 2)
    keys = {b["dedup_key"] for b in outside.taken if "dedup_key" in b}
    assert keys == {f"wastewise-jobs:{alert_id}"}
    assert mails(outside)[1]["subject"] == "WasteWise [resolved] High error rate is resolved"
    assert posts(outside)[1]["blocks"][0]["text"]["text"].startswith("🟢")
    assert "Acknowledge" not in mails(outside)[1]["text"]


async def test_nobody_is_paged_for_less_than_critical(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    async with dispatching(pool, settings):
        await raise_one(pool, severity="error")
        await eventually(lambda: delivered(pool, "email", "slack"))
        await raise_one(pool, severity="critical")
        await eventually(lambda: delivered(pool, "email", "slack", "pagerduty"))
    assert events(outside) == ["trigger"]
    assert len(mails(outside)) == 2


async def test_a_recovery_is_told_to_those_who_were_told_alone(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    only_email = {"job_failed": ("email",)}
    async with dispatching(pool, settings, AlertPolicy(routes=only_email)):
        (job_id,) = await fail_jobs(pool, "no luck")
        await eventually(lambda: delivered(pool, "email"))
        await pool.execute("SELECT requeue_job($1)", job_id)
        (job,) = await claim(JobStore(pool))
        await JobStore(pool).complete([(job, Completed("1"))])
        await pool.execute("SELECT resolve_failed_alerts()")
        await eventually(lambda: len(mails(outside)) == 2)
    assert "resolved" in mails(outside)[1]["subject"]
    assert posts(outside) == []


async def test_what_resolves_before_it_was_told_is_told_to_nobody(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    alert_id = await raise_one(pool)
    store = AlertStore(pool)
    assert await store.plan({"high_error_rate": ["email"]}, timedelta(hours=1)) == 1
    await store.resolve(alert_id, actor="a test")
    async with dispatching(pool, settings):
        await raise_one(pool, "another", kind="worker_down")
        await eventually(lambda: len(mails(outside)) == len(posts(outside)) == 1)
    assert "Worker down" in mails(outside)[0]["subject"]
    assert (
        await pool.fetchval("SELECT status FROM job_alert_deliveries WHERE alert_id = $1", alert_id)
        == "skipped"
    )


async def test_an_open_alert_is_repeated_until_it_is_acknowledged(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    async with dispatching(pool, settings):
        alert_id = await raise_one(pool, kind="job_stuck", severity="warning")
        await eventually(lambda: len(mails(outside)) == 1)
        await eventually(lambda: delivered(pool, "email"))
        await come_due(pool)
        await eventually(lambda: len(mails(outside)) == 2)
        await eventually(lambda: delivered(pool, "email"))
        await AlertStore(pool).acknowledge(alert_id, by=None, actor="a test")
        await come_due(pool)
        await raise_one(pool, "last", kind="job_stuck", severity="warning")
        await eventually(lambda: len(mails(outside)) == 3)
    assert "still open" in mails(outside)[1]["subject"]
    assert "still open" not in mails(outside)[2]["subject"]


async def test_a_server_that_fails_is_tried_again_with_the_same_key(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    outside.script = [(500, {}), (503, {})]
    async with dispatching(pool, settings):
        await raise_one(pool, kind="job_stuck")
        await eventually(lambda: len(outside.arrived) == 1)
        await eventually(lambda: _was_recorded(pool, "delivery_failed", 1))
        await come_due(pool)
        await eventually(lambda: _was_recorded(pool, "delivery_failed", 2))
        await come_due(pool)
        await eventually(lambda: delivered(pool, "email"))
    assert [one.status for one in outside.arrived] == [500, 503, 200]
    assert len({one.headers["Idempotency-Key"] for one in outside.arrived}) == 1
    assert [event for event, _ in await history(pool)] == [
        "raised",
        "delivery_failed",
        "delivery_failed",
        "delivered",
    ]


async def _was_recorded(pool: Pool, event: str, times: int) -> bool:
    return [name for name, _ in await history(pool)].count(event) == times


async def test_a_channel_that_asks_for_patience_is_left_alone_that_long(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    outside.script = [(429, {"Retry-After": "1800"})]
    async with dispatching(pool, settings):
        await raise_one(pool, kind="job_stuck")
        await eventually(lambda: _was_recorded(pool, "delivery_failed", 1))
    left = await pool.fetchval(
        "SELECT extract(epoch FROM paused_until - now()) FROM job_alert_channels"
    )
    assert 1700 < left <= 1800


async def test_a_slow_channel_holds_up_no_other(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    async with receiver() as slow:
        slow.script = ["hang"]
        slack = channel_settings(outside.url, slack_webhook_url=f"{slow.url}/services/x")
        async with dispatching(pool, slack):
            await raise_one(pool)
            await eventually(lambda: len(outside.taken) == 2)
            assert (await statuses(pool))["slack"] == "sending"
            slow.let_go.set()
            await eventually(lambda: delivered(pool, "email", "slack", "pagerduty"))


async def test_a_server_that_never_answers_costs_one_attempt(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    outside.script = ["hang"]
    async with dispatching(pool, settings, timeout_seconds=0.05):
        await raise_one(pool, kind="job_stuck")
        await eventually(lambda: _was_recorded(pool, "delivery_failed", 1))
    assert await pool.fetchval("SELECT last_error FROM job_alert_deliveries") == (
        "no answer within 0.05 s"
    )


@pytest.mark.parametrize("given", ["refused", "worn out"])
async def test_what_cannot_be_delivered_is_said_and_raises_no_alert(
    pool: Pool, outside: Receiver, settings: Settings, given: str
) -> None:
    outside.script = [(401 if given == "refused" else 500, {})]
    await raise_one(pool, kind="job_stuck")
    store = AlertStore(pool)
    await store.plan({"job_stuck": ["email"]}, timedelta(hours=1))
    if given == "worn out":
        await pool.execute("UPDATE job_alert_deliveries SET attempts = 9")
    async with dispatching(pool, settings):
        await eventually(lambda: _was_recorded(pool, "undelivered", 1))
    (alert,) = await store.by_id(await _ids(pool))
    assert alert.undelivered == ["email"]
    assert (alert.status, alert.notified_at) == ("open", None)


async def _ids(pool: Pool) -> list[UUID]:
    return [row["id"] for row in await pool.fetch("SELECT id FROM job_alerts")]


async def test_ten_thousand_failures_of_one_cause_are_one_message_on_each_channel(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "INSERT INTO analysis_jobs (job_type, status, queue, fence) "
            "SELECT 'cleanup', 'processing', 'default', 1 FROM generate_series(1, 10000)"
        )
    ids = [row["id"] for row in await pool.fetch("SELECT id FROM analysis_jobs ORDER BY id")]
    async with dispatching(pool, settings):
        for start in range(0, 10_000, 500):
            part = ids[start : start + 500]
            messages = [f"invoice {start + n} is missing" for n in range(500)]
            await pool.fetch(
                "SELECT fail_jobs($1, $2, $3, $4, $5, $6)",
                part,
                [1] * 500,
                messages,
                ["GONE"] * 500,
                [None] * 500,
                ["permanent"] * 500,
            )
        await fail_jobs(pool, "another error")
        await eventually(lambda: len(mails(outside)) == len(posts(outside)) == 2)
        await eventually(lambda: _was_recorded(pool, "delivered", 4))
    seen = await pool.fetch("SELECT occurrences FROM job_alerts ORDER BY created_at")
    assert [row["occurrences"] for row in seen] == [10_000, 1]
    assert len(outside.arrived) == 4


async def test_a_flood_of_causes_is_one_digest(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    for number in range(100):
        await raise_one(pool, f"cause {number}", severity="error" if number else "critical")
    async with dispatching(pool, settings):
        await eventually(lambda: _was_recorded(pool, "delivered", 201))
        # Beyond the hour's ceiling nothing more goes out before the next digest may.
        await pool.execute("UPDATE job_alert_channels SET sent = 1000")
        await raise_one(pool, "late", severity="error")
        await eventually(lambda: _planned(pool, 101))
    (mail,), (post,) = mails(outside), posts(outside)
    assert mail["subject"] == "WasteWise 100 alerts, seen 100 times"
    assert "and 75 more" in mail["text"]
    assert len(post["blocks"]) == 27
    assert post["blocks"][1]["text"]["text"].startswith("🔴")
    assert events(outside) == ["trigger"]
    assert (
        await pool.fetchval("SELECT count(*) FROM job_alert_deliveries WHERE status = 'pending'")
        == 2
    )
    await pool.execute("UPDATE job_alert_channels SET digest_at = now() - interval '16 minutes'")
    async with dispatching(pool, settings):
        await eventually(lambda: len(mails(outside)) == len(posts(outside)) == 2)


async def _planned(pool: Pool, times: int) -> bool:
    count = await pool.fetchval("SELECT count(DISTINCT alert_id) FROM job_alert_deliveries")
    return bool(count == times)


async def test_many_dispatchers_send_each_message_once(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    async with AsyncExitStack() as running:
        for _ in range(4):
            await running.enter_async_context(dispatching(pool, settings))
        for number in range(10):
            await raise_one(pool, f"cause {number}", kind="worker_down")
        await eventually(lambda: _was_recorded(pool, "delivered", 20))
    assert (len(mails(outside)), len(posts(outside))) == (10, 10)


async def test_a_delivery_left_by_a_dead_process_is_sent_again_with_the_same_key(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    outside.script = ["hang"]
    await raise_one(pool, kind="job_stuck")
    async with dispatching(pool, settings) as dying:
        await eventually(lambda: _statuses_are(pool, {"email": "sending"}))
        await pool.execute("UPDATE job_alert_deliveries SET due_after = now()")
        async with dispatching(pool, settings):
            await eventually(lambda: delivered(pool, "email"))
        outside.let_go.set()
        del dying
    # The late answer of the first changes nothing.
    await eventually(lambda: delivered(pool, "email"))
    keys = [one.headers["Idempotency-Key"] for one in outside.arrived]
    assert len(keys) == 2
    assert len(set(keys)) == 1


async def _statuses_are(pool: Pool, wanted: dict[str, str]) -> bool:
    return await statuses(pool) == wanted


async def test_a_process_without_channels_leaves_alerts_to_those_that_have_some(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    async with dispatching(pool, load_settings(env_file=None)) as bare:
        await raise_one(pool, kind="job_stuck")
        await eventually(lambda: not any(beat.late for beat in bare.beats.values()))
        assert await pool.fetchval("SELECT count(*) FROM job_alerts WHERE tell_after <= now()") == 1
    async with dispatching(pool, settings):
        await eventually(lambda: delivered(pool, "email"))


@pytest.fixture
async def post_office() -> AsyncIterator[MailServer]:
    async with mail_server() as found:
        yield found


def smtp_settings(post_office: MailServer) -> Settings:
    return load_settings(
        env_file=None,
        smtp_url=f"smtp://127.0.0.1:{post_office.port}",
        email_from="Wästewise <alerts@example.com>",
        admin_email="a@example.com,b@example.com",
    )


async def test_plain_smtp_carries_the_same_mail_with_its_headers_and_no_others(
    pool: Pool, post_office: MailServer
) -> None:
    async with dispatching(pool, smtp_settings(post_office)):
        await fail_jobs(pool, EVIL + " =?UTF-8?Q?=0A?=Bcc: x@example.com")
        await eventually(lambda: delivered(pool, "email"))
    (mail,) = post_office.mails
    assert sorted(mail.keys()) == [
        "Auto-Submitted",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ]
    assert mail["Subject"] == "WasteWise [error] Job failed: complete_analysis"
    assert post_office.receivers == ["a@example.com", "b@example.com"]
    plain, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert html is not None
    assert "<!channel>" in plain.get_content()
    assert "&lt;!channel&gt;" in html.get_content()


@pytest.mark.parametrize(("said", "status"), [("451 later", "pending"), ("554 no", "undelivered")])
async def test_a_mail_server_that_refuses_is_believed(
    pool: Pool, post_office: MailServer, said: str, status: str
) -> None:
    post_office.refuse = said
    async with dispatching(pool, smtp_settings(post_office)):
        await raise_one(pool, kind="job_stuck")
        await eventually(lambda: _statuses_are(pool, {"email": status}))
        await eventually(lambda: _attempted(pool))
    assert (
        await pool.fetchval("SELECT last_error FROM job_alert_deliveries")
        == f"SMTP {said[:3]}: {said[4:]}"
    )


async def _attempted(pool: Pool) -> bool:
    return bool(await pool.fetchval("SELECT count(*) > 1 FROM job_alert_history"))
