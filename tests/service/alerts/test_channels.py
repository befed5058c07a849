"""What each channel is sent: its wire format, and nothing that a job could smuggle in."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from tests.support.channels import (
    come_due,
    delivered,
    dispatching,
    events,
    fail_jobs,
    mails,
    posts,
    raise_one,
    statuses_are,
)
from tests.support.receivers import MailServer, Receiver, mail_server
from tests.support.waiting import eventually
from wastewise_jobs.alert_names import Severity
from wastewise_jobs.alerts.model import AlertPolicy
from wastewise_jobs.alerts.store import AlertStore
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.settings import Settings, load_settings

EVIL = "<!channel> <https://evil.example|Retry> <b>&amp;</b> ```\r\nBcc: all@example.com `x`"


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


@pytest.mark.parametrize("severity", list(Severity))
async def test_pagerduty_is_told_of_every_severity_that_is_routed_there(
    pool: Pool, outside: Receiver, settings: Settings, severity: Severity
) -> None:
    routes = {"job_stuck": ("pagerduty",)}
    async with dispatching(pool, settings, AlertPolicy(routes=routes)):
        await raise_one(pool, kind="job_stuck", severity=severity)
        await eventually(lambda: delivered(pool, "pagerduty"))
    assert [body["payload"]["severity"] for body in outside.taken] == [severity]


async def test_figures_are_told_as_people_read_them(
    pool: Pool, outside: Receiver, settings: Settings
) -> None:
    details = {
        "percent": 100 / 3,
        "failed": 12_345,
        "timeout_seconds": 5400.0,
        "due_since": "2026-03-01T12:00:00.123456+00:00",
        "pid": 12_345,
        "ratio": 1 / 3,
        "checks_under": 1,
        "cause": "inner word",
    }
    await pool.execute(
        "SELECT public.raise_alert('x', 'high_error_rate', 'critical', 'too many', $1)", details
    )
    async with dispatching(pool, settings):
        await eventually(lambda: delivered(pool, "email", "slack", "pagerduty"))
    (mail,) = mails(outside)
    assert mail["subject"] == "WasteWise [critical] High error rate: 33.3 %"
    assert {*mail["text"].partition("First seen")[2].splitlines()[1:7]} == {
        "Percent: 33.3 %",
        "Failed: 12,345",
        "Timeout: 1 h 30 min",
        "Due since: 2026-03-01 12:00:00 UTC",
        "Pid: 12345",
        "Ratio: 0.33",
    }
    for body in outside.taken:
        assert "33.33" not in str(body)
        assert "inner word" not in str(body)


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
        await eventually(lambda: statuses_are(pool, {"email": status}))
        await eventually(lambda: _attempted(pool))
    assert (
        await pool.fetchval("SELECT last_error FROM job_alert_deliveries")
        == f"SMTP {said[:3]}: {said[4:]}"
    )


async def test_who_is_refused_among_the_receivers_is_told_as_a_delivery_in_part(
    pool: Pool, post_office: MailServer
) -> None:
    post_office.refuse_receivers = {"b@example.com": "550 no such user"}
    with capture_logs() as logs:
        async with dispatching(pool, smtp_settings(post_office)):
            alert_id = await raise_one(pool, kind="job_stuck")
            await eventually(lambda: delivered(pool, "email"))
            (alert,) = await AlertStore(pool).by_id([alert_id])
            assert alert.channels == ["email (in part)"]
            assert alert.notified_at is not None
            said = "1 of 2 receivers refused: b***@example.com (550)"
            assert await pool.fetchval("SELECT last_error FROM job_alert_deliveries") == said
            assert await _notes(pool) == [None, said]
            post_office.refuse_receivers = {}
            await come_due(pool)
            await eventually(lambda: len(post_office.mails) == 2)
            await eventually(lambda: delivered(pool, "email"))
    (alert,) = await AlertStore(pool).by_id([alert_id])
    assert alert.channels == ["email"]
    (logged,) = [one for one in logs if one["event"] == "alert_delivered_in_part"]
    assert (logged["log_level"], logged["error"]) == ("warning", said)


async def _notes(pool: Pool) -> list[str | None]:
    rows = await pool.fetch("SELECT note FROM job_alert_history ORDER BY created_at")
    return [row["note"] for row in rows]


@pytest.mark.parametrize(
    ("codes", "status"), [(("550", "553"), "undelivered"), (("450", "550"), "pending")]
)
async def test_who_refuses_every_receiver_has_taken_nothing(
    pool: Pool, post_office: MailServer, codes: tuple[str, str], status: str
) -> None:
    names = ("a@example.com", "b@example.com")
    post_office.refuse_receivers = {
        name: f"{code} no" for name, code in zip(names, codes, strict=True)
    }
    async with dispatching(pool, smtp_settings(post_office)):
        await raise_one(pool, kind="job_stuck")
        await eventually(lambda: statuses_are(pool, {"email": status}))
        await eventually(lambda: _attempted(pool))
    row = await pool.fetchrow("SELECT notified_at, notification_channels FROM job_alerts")
    assert row is not None
    assert (row["notified_at"], row["notification_channels"]) == (None, [])
    assert await pool.fetchval("SELECT last_error FROM job_alert_deliveries") == (
        f"2 of 2 receivers refused: a***@example.com ({codes[0]}), b***@example.com ({codes[1]})"
    )


async def _attempted(pool: Pool) -> bool:
    return bool(await pool.fetchval("SELECT count(*) > 1 FROM job_alert_history"))
