"""Alerts over HTTP, and the page that a message leads to."""

import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.api import ADA, NOBODYS_ID, Api, serving
from tests.support.factories import claim, enqueue_one
from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.outcome import Failed

LINKS = AlertLinks("", b"k" * 32)


@pytest.fixture
async def api(web_pool: Pool) -> AsyncIterator[Api]:
    async with serving(web_pool, alert_links=LINKS) as api:
        yield api


async def raise_one(api: Api, name: str = "w1", severity: str = "critical") -> UUID:
    alert_id: UUID = await api.pool.fetchval(
        "SELECT raise_alert($1, 'worker_down', $2, '<b>silent</b> password=sesame', $3)",
        f"worker_down:{name}",
        severity,
        {"worker_id": name},
    )
    return alert_id


async def as_admin(api: Api, method: str, path: str, json: Any = None, **options: Any) -> Any:
    path = f"/api/admin/alerts{path}"
    return await api.request(method, path, user=ADA, admin=True, json=json, **options)


async def test_an_alert_is_acknowledged_snoozed_and_resolved_with_its_history(api: Api) -> None:
    alert_id = await raise_one(api)
    reply = await as_admin(api, "POST", f"/{alert_id}/acknowledge", {"note": "on it"})
    assert (reply.status, reply.json["status"]) == (200, "acknowledged")
    assert reply.json["acknowledgedBy"] == str(ADA)
    until = {"until": "2999-01-01T00:00:00Z"}
    reply = await as_admin(api, "POST", f"/{alert_id}/snooze", until)
    assert (reply.json["status"], reply.json["acknowledgedAt"]) == ("snoozed", None)
    reply = await as_admin(api, "POST", f"/{alert_id}/resolve", {})
    assert reply.json["status"] == "resolved"
    reply = await as_admin(api, "POST", f"/{alert_id}/acknowledge", {})
    assert (reply.status, reply.code) == (409, "alert_resolved")
    whole = (await as_admin(api, "GET", f"/{alert_id}")).json
    assert [event["event"] for event in whole["history"]] == [
        "resolved",
        "snoozed",
        "acknowledged",
        "raised",
    ]
    assert whole["history"][2]["note"] == "on it"
    assert whole["history"][2]["actor"] == f"user {ADA}"
    assert (whole["type"], whole["severity"], whole["occurrences"]) == (
        "worker_down",
        "critical",
        1,
    )


async def test_secrets_in_an_alert_are_not_shown(api: Api) -> None:
    alert_id = await raise_one(api)
    assert "sesame" not in str((await as_admin(api, "GET", f"/{alert_id}")).json)


async def test_the_list_is_filtered_and_read_page_by_page(api: Api) -> None:
    made = [await raise_one(api, f"w{n}", "error" if n % 2 else "critical") for n in range(5)]
    job_id = await enqueue_one(api.jobs, job_type="echo")
    (job,) = await claim(api.jobs, job_types=["echo"])
    await api.jobs.fail([(job, Failed("X", "no luck", "permanent"))])
    await as_admin(api, "POST", f"/{made[0]}/acknowledge", {})

    async def ids(**params: Any) -> list[str]:
        reply = await as_admin(api, "GET", "", params=params)
        assert reply.status == 200, reply.body
        return [alert["id"] for alert in reply.json["alerts"]]

    wanted = [str(alert_id) for alert_id in reversed(made)]
    assert await ids(type="worker_down") == wanted
    assert await ids(severity="error", type="worker_down") == [wanted[1], wanted[3]]
    assert await ids(status="acknowledged") == [wanted[4]]
    assert len(await ids(status=["open", "acknowledged"])) == 6
    (of_job,) = await ids(job=str(job_id))
    assert of_job not in wanted

    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await as_admin(api, "GET", "", params={"limit": 2, **cursor})).json
        seen += [alert["id"] for alert in page["alerts"]]
        if not page["pagination"]["hasMore"]:
            break
        cursor = {"cursor": page["pagination"]["nextCursor"]}
    assert seen == [of_job, *wanted]
    assert (await as_admin(api, "GET", "", params={"cursor": "x"})).code == "invalid_cursor"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "", None, 404, "alert_not_found"),
        ("POST", "/acknowledge", {}, 404, "alert_not_found"),
        ("POST", "/resolve", {}, 404, "alert_not_found"),
        ("POST", "/snooze", {"until": "2999-01-01T00:00:00Z"}, 404, "alert_not_found"),
        ("POST", "/snooze", {"until": "2020-01-01T00:00:00Z"}, 400, "invalid_value"),
        ("POST", "/snooze", {}, 400, "missing_field"),
        ("POST", "/acknowledge", {"who": "me"}, 400, "unknown_field"),
    ],
)
async def test_what_cannot_be_done_is_refused(
    api: Api, method: str, path: str, body: Any, status: int, code: str
) -> None:
    reply = await as_admin(api, method, f"/{NOBODYS_ID}{path}", body)
    assert (reply.status, reply.code) == (status, code)


async def test_only_admins_see_alerts(api: Api) -> None:
    alert_id = await raise_one(api)
    for path in ("", f"/{alert_id}"):
        assert (await api.get(f"/api/admin/alerts{path}")).status == 403
    reply = await api.post(f"/api/admin/alerts/{alert_id}/acknowledge", {})
    assert reply.status == 403


async def test_the_page_changes_nothing_until_its_button_is_pressed(api: Api) -> None:
    alert_id = await raise_one(api)
    link = LINKS.acknowledge(alert_id)
    page = await api.get(link, user=None)
    assert page.status == 200
    text = page.body.decode()
    assert "<button>Acknowledge</button>" in text
    assert "&lt;b&gt;silent&lt;/b&gt;" in text
    assert "sesame" not in text
    policy = page.headers["Content-Security-Policy"]
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/=]{44}'; form-action 'self'; "
        r"base-uri 'none'; frame-ancestors 'none'",
        policy,
    )
    await api.request("HEAD", link, user=None)
    assert await _acknowledged(api, alert_id) is False
    for _ in range(2):
        pressed = await api.post(link, user=None)
        assert pressed.status == 200
        assert "is acknowledged" in pressed.body.decode()
        assert "<button>" not in pressed.body.decode()
    history = (await as_admin(api, "GET", f"/{alert_id}")).json["history"]
    assert [(e["event"], e["actor"]) for e in history] == [
        ("acknowledged", "link"),
        ("raised", None),
    ]


async def _acknowledged(api: Api, alert_id: UUID) -> bool:
    return bool(
        await api.pool.fetchval(
            "SELECT acknowledged_at IS NOT NULL FROM job_alerts WHERE id = $1", alert_id
        )
    )


async def test_a_link_is_good_for_its_alert_and_for_no_other(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await raise_one(api, "w1"), await raise_one(api, "w2")
    token = LINKS.acknowledge(first).partition("token=")[2]
    until, _, signature = token.partition(".")
    monkeypatch.setattr("wastewise_jobs.alerts.links._GOOD_FOR_DAYS", -1)
    old = LINKS.acknowledge(first).partition("token=")[2]
    monkeypatch.undo()
    wrong = [(second, token), (first, ""), (first, old), (first, token[:-1])]
    wrong += [(first, f"{int(until) + 1}.{signature}"), (first, f"9{until}.ü"), (first, "x.y")]
    for alert_id, word in wrong:
        for method in ("GET", "POST"):
            path = f"/alerts/{alert_id}/acknowledge"
            reply = await api.request(method, path, user=None, params={"token": word})
            assert (reply.status, reply.code) == (403, "link_not_valid"), word
    assert not await _acknowledged(api, first)
    gone = LINKS.acknowledge(uuid4())
    assert (await api.get(gone, user=None)).code == "alert_not_found"
