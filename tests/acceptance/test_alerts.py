"""Alerts by real processes: kill -9 between raising and sending, and the commands."""

import json
import signal
from pathlib import Path

import asyncpg
import pytest

from tests.support.commands import run, start
from tests.support.receivers import Receiver, receiver
from tests.support.waiting import eventually

FAIL = """
INSERT INTO analysis_jobs (job_type, status) VALUES ('cleanup', 'pending');
UPDATE analysis_jobs SET status = 'failed', error_message = 'no luck', failed_at = now()
"""


def environment(dsn: str, outside: Receiver) -> dict[str, str]:
    return {
        "DATABASE_URL": dsn,
        "POLL_INTERVAL_SECONDS": "0.5",
        "SLACK_WEBHOOK_URL": f"{outside.url}/services/T0/B0/secret",
        "PAGERDUTY_KEY": "R" * 32,
        "PAGERDUTY_EVENTS_URL": outside.url,
    }


async def status(connection: "asyncpg.Connection[asyncpg.Record]") -> str | None:
    found: str | None = await connection.fetchval("SELECT status FROM job_alert_deliveries")
    return found


async def test_an_alert_outlives_the_process_that_was_killed_while_it_sent_it(
    db: str, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(db)
    async with receiver() as outside:
        outside.script = ["hang"]
        env = environment(db, outside)
        async with start("worker", env=env, cwd=tmp_path) as first:
            await eventually(lambda: first.has_said('"worker_started"'), within=60)
            await connection.execute(FAIL)

            # The request has arrived: it is being sent.
            await eventually(lambda: not outside.script, within=30)
            assert await status(connection) == "sending"
            first.popen.kill()
            await first.ended()
        assert outside.taken == []
        # A minute passes, after which nobody believes that it is still being sent.
        await connection.execute("UPDATE job_alert_deliveries SET due_after = now()")
        async with start("worker", env=env, cwd=tmp_path):

            async def is_delivered() -> bool:
                return await status(connection) == "delivered"

            await eventually(is_delivered, within=60)
        assert [post["text"] for post in outside.taken] == ["[error] Job failed: cleanup"]
    assert await connection.fetchval("SELECT occurrences FROM job_alerts") == 1
    await connection.close(timeout=5)


async def test_a_channel_that_hangs_does_not_hold_up_the_end_of_a_process(
    db: str, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(db)
    async with receiver() as outside:
        outside.script = ["hang"]
        async with start("worker", env=environment(db, outside), cwd=tmp_path) as process:
            await eventually(lambda: process.has_said('"worker_started"'), within=60)
            await connection.execute(FAIL)

            await eventually(lambda: not outside.script, within=30)
            process.send(signal.SIGTERM)
            assert await process.ended(within=10) == 0
            assert "Traceback" not in process.said()
    await connection.close(timeout=5)


async def test_the_commands_test_the_channels_list_and_acknowledge(db: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(db)
    await connection.execute(FAIL)
    async with receiver() as outside:
        env = environment(db, outside)
        tested = await run("alerts", "test", env=env, cwd=tmp_path)
        assert tested.returncode == 0, tested.stderr
        assert tested.stdout.splitlines() == [
            "email      not configured",
            "slack      sent",
            "pagerduty  sent",
        ]
        assert [b.get("event_action") for b in outside.taken] == [None, "trigger", "resolve"]
        outside.script = [(403, {})]
        refused = await run("alerts", "test", env=env, cwd=tmp_path)
    assert refused.returncode == 1
    assert "slack      failed: HTTP 403: later" in refused.stdout
    assert "secret" not in refused.stdout + refused.stderr
    listed = await run("alerts", "list", env=env, cwd=tmp_path)
    assert "open, error, job_failed" in listed.stdout
    assert "cleanup failed: no luck" in listed.stdout
    (alert,) = json.loads((await run("alerts", "list", "--json", env=env, cwd=tmp_path)).stdout)
    acked = await run("alerts", "ack", alert["id"], "--note", "on it", env=env, cwd=tmp_path)
    assert acked.stdout.strip() == "acknowledged"
    note = await connection.fetchval("SELECT acknowledged_note FROM job_alerts")
    assert note == "on it"
    await connection.close(timeout=5)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"EMAIL_FROM": "a@example.com", "RESEND_API_KEY": "re_1"}, "ADMIN_EMAIL"),
        ({"ALERT_ROUTES": "job_stuck=slack"}, "SLACK_WEBHOOK_URL"),
    ],
)
async def test_a_half_configured_channel_stops_the_start_and_names_the_variable(
    tmp_path: Path, given: dict[str, str], missing: str
) -> None:
    ended = await run("worker", env=given, cwd=tmp_path)
    assert ended.returncode != 0
    assert ended.stderr.startswith(f"error: {missing}: is needed")
