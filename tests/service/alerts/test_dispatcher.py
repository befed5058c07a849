"""Alerts on their way: the outbox and the dispatcher, with receivers beyond HTTP."""

import html
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import UUID

import pytest

from tests.support.channels import (
    LINKS,
    channel_settings,
    come_due,
    delivered,
    dispatching,
    events,
    fail_jobs,
    history,
    mails,
    posts,
    raise_one,
    statuses,
    was_recorded,
)
from tests.support.factories import claim
from tests.support.receivers import Receiver, receiver
from tests.support.waiting import eventually
from wastewise_jobs.alerts.dispatcher import Dispatcher
from wastewise_jobs.alerts.model import AlertPolicy, Message, SendOutcome
from wastewise_jobs.alerts.store import AlertStore
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.settings import Settings, load_settings


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
    job_url = LINKS.job(await pool.fetchval("SELECT id FROM public.job_alerts"), job_id)
    for text in (mail["text"], mail["html"]):
        assert "row 12 is no number" in text
        assert job_url in html.unescape(text)
        assert "https://jobs.example.com/alerts/" in text
    assert post["blocks"][0]["text"]["text"] == "🟠 Job failed: complete_analysis"
    assert [button["url"] for button in post["blocks"][-1]["elements"]][1] == job_url
    row = await pool.fetchrow("SELECT notified_at, notification_channels FROM job_alerts")
    assert row is not None
    assert row["notified_at"] is not None
    assert sorted(row["notification_channels"]) == ["email", "slack"]


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
        await eventually(lambda: was_recorded(pool, "delivery_failed", 1))
        await come_due(pool)
        await eventually(lambda: was_recorded(pool, "delivery_failed", 2))
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


async def test_a_channel_that_asks_for_patience_is_left_alone_that_long(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    outside.script = [(429, {"Retry-After": "1800"})]
    async with dispatching(pool, settings):
        await raise_one(pool, kind="job_stuck")
        await eventually(lambda: was_recorded(pool, "delivery_failed", 1))
    left = await pool.fetchval(
        "SELECT extract(epoch FROM paused_until - now()) FROM job_alert_channels"
    )
    assert 1700 < left <= 1800


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ("Fri, 31 Dec 99999 23:59:59 GMT", 3500, 3600),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", 3500, 3600),
        ("99999999999999999999", 3500, 3600),
        ("1.5", -10, 2),
        ("-5", 0, 15),
        ("nan", 0, 15),
        ("soon", 0, 15),
    ],
)
async def test_whatever_patience_is_asked_for_it_is_one_attempt_and_recorded(
    pool: Pool, outside: Receiver, settings: Settings, asked: str, least: int, most: int
) -> None:
    outside.script = [(429, {"Retry-After": asked})]
    async with dispatching(pool, settings):
        await raise_one(pool, kind="job_stuck")
        await eventually(lambda: was_recorded(pool, "delivery_failed", 1))
        left = await pool.fetchval(
            "SELECT extract(epoch FROM paused_until - now()) FROM public.job_alert_channels"
        )
    assert len(outside.arrived) == 1
    assert least < left <= most


class Broken:
    """A channel that fails in a way that nobody has thought of."""

    name = "email"
    per_hour = 1000

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.sent = 0

    async def send(self, message: Message) -> SendOutcome:
        del message
        self.sent += 1
        raise self.error


@pytest.mark.parametrize("error", [OverflowError("too large"), KeyError("\0\udc00"), Exception()])
async def test_a_channel_that_raises_is_tried_ten_times_and_given_up(
    pool: Pool, error: Exception
) -> None:
    channel, store = Broken(error), AlertStore(pool)
    dispatcher = Dispatcher(store=store, channels=[channel], policy=AlertPolicy())
    await raise_one(pool, kind="job_stuck")
    await store.plan({"job_stuck": ["email"]}, timedelta(hours=1))
    for _ in range(12):
        await dispatcher.send_next(channel)
        await pool.execute("UPDATE public.job_alert_deliveries SET due_after = now()")
        await pool.execute("UPDATE public.job_alert_channels SET paused_until = NULL")
    assert channel.sent == 10
    assert await statuses(pool) == {"email": "undelivered"}
    said = await pool.fetchval("SELECT last_error FROM public.job_alert_deliveries")
    assert said.startswith(type(error).__name__)
    assert await was_recorded(pool, "delivery_failed", 9)
    assert await was_recorded(pool, "undelivered", 1)


async def test_what_kills_whoever_sends_it_is_given_up_too(pool: Pool) -> None:
    channel, store = Broken(OSError()), AlertStore(pool)
    await raise_one(pool, kind="job_stuck")
    await store.plan({"job_stuck": ["email"]}, timedelta(hours=1))

    async def claimed() -> int:
        lease, gap = timedelta(seconds=60), timedelta(minutes=15)
        found = await store.claim("email", per_hour=100, digest_gap=gap, lease=lease)
        await pool.execute("UPDATE public.job_alert_deliveries SET due_after = now()")
        return len(found)

    assert [await claimed() for _ in range(12)] == [1] * 10 + [0] * 2
    assert await statuses(pool) == {channel.name: "undelivered"}
    assert await was_recorded(pool, "undelivered", 1)


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
        await eventually(lambda: was_recorded(pool, "delivery_failed", 1))
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
        await eventually(lambda: was_recorded(pool, "undelivered", 1))
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
            "INSERT INTO analysis_jobs (job_type, status, queue, fence, priority, max_retries) "
            "SELECT 'cleanup', 'processing', 'default', 1, 5, 3 FROM generate_series(1, 10000)"
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
        await eventually(lambda: was_recorded(pool, "delivered", 4))
    seen = await pool.fetch("SELECT occurrences FROM job_alerts ORDER BY created_at")
    assert [row["occurrences"] for row in seen] == [10_000, 1]
    assert len(outside.arrived) == 4


async def test_a_flood_of_causes_is_one_digest(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    for number in range(100):
        await raise_one(pool, f"cause {number}", severity="error" if number else "critical")
    async with dispatching(pool, settings):
        await eventually(lambda: was_recorded(pool, "delivered", 300))
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
        == 3
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
        await eventually(lambda: was_recorded(pool, "delivered", 20))
    assert (len(mails(outside)), len(posts(outside))) == (10, 10)


async def test_a_delivery_left_by_a_dead_process_is_sent_again_with_the_same_key(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    outside.script = ["hang"]
    await raise_one(pool, kind="job_stuck")
    async with dispatching(pool, settings) as dying:
        # The request is there: the next one is the other process's.
        await eventually(lambda: not outside.script)
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


async def test_a_process_without_channels_leaves_alerts_to_those_that_have_some(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    async with dispatching(pool, load_settings(env_file=None)) as bare:
        await raise_one(pool, kind="job_stuck")
        await eventually(lambda: not any(beat.late for beat in bare.beats.values()))
        assert await pool.fetchval("SELECT count(*) FROM job_alerts WHERE tell_after <= now()") == 1
    async with dispatching(pool, settings):
        await eventually(lambda: delivered(pool, "email"))
