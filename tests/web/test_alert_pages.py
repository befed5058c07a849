"""The page on which whoever has an alert's message looks at its job, in HTTP and in a browser."""

import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.api import Api, serving
from tests.support.factories import claim, enqueue_one
from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.outcome import Failed

LINKS = AlertLinks("", b"k" * 32)
EVIL = "<img src=x onerror=alert(1)> password=sesame row 12 " + "ohne-trennung" * 40


@pytest.fixture
async def api(web_pool: Pool) -> AsyncIterator[Api]:
    async with serving(web_pool, alert_links=LINKS) as api:
        yield api


async def failed(api: Api, message: str = EVIL) -> tuple[UUID, UUID]:
    """An alert and its job."""
    job_id = await enqueue_one(api.jobs, job_type="echo", input_json='{"a": "onion"}')
    (job,) = await claim(api.jobs, job_types=["echo"])
    await api.jobs.fail([(job, Failed("BAD_FILE", message, "permanent"))])
    alert_id = await api.pool.fetchval(
        "SELECT alert_id FROM public.job_alert_jobs WHERE job_id = $1", job_id
    )
    return alert_id, job_id


async def test_a_signed_link_shows_the_facts_of_the_job_and_no_more(api: Api) -> None:
    alert_id, job_id = await failed(api)
    await api.pool.execute(
        'UPDATE public.analysis_jobs SET result_data = \'{"a": "garlic"}\' WHERE id = $1',
        job_id,
    )
    page = await api.get(LINKS.job(alert_id, job_id), user=None)
    text = page.body.decode()
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-store"
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/=]{44}'; form-action 'self'; "
        r"base-uri 'none'; frame-ancestors 'none'",
        page.headers["Content-Security-Policy"],
    )
    for words in ("echo: failed", str(job_id), "BAD_FILE", "1 of 4", "&lt;img src=x"):
        assert words in text
    for words in ("<img", "sesame", "onion", "garlic"):
        assert words not in text


async def test_a_stuck_job_is_shown_by_its_alert(api: Api) -> None:
    job_id = await enqueue_one(api.jobs, job_type="echo")
    alert_id = await api.pool.fetchval(
        "SELECT public.raise_alert('job_stuck:x', 'job_stuck', 'warning', 'x', '{}', $1)", job_id
    )
    assert (await api.get(LINKS.job(alert_id, job_id), user=None)).status == 200


async def test_what_no_calendar_holds_hides_only_itself(api: Api) -> None:
    alert_id, job_id = await failed(api)
    async with api.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "UPDATE public.analysis_jobs SET created_at = '4000-01-01 BC', "
            "completed_at = 'infinity', started_at = '20000-01-01', "
            "error_code = repeat('x', 9000) WHERE id = $1",
            job_id,
        )
    page = await api.get(LINKS.job(alert_id, job_id), user=None)
    assert page.status == 200
    text = page.body.decode()
    assert "Created" not in text
    assert len(text) < 10_000


async def test_a_link_shows_its_job_of_its_alert_and_no_other(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert_id, job_id = await failed(api)
    other_alert, other_job = await failed(api, "something else")
    token = LINKS.job(alert_id, job_id).partition("token=")[2]
    acknowledges = LINKS.acknowledge(alert_id).partition("token=")[2]
    foreign = AlertLinks("", b"x" * 32).job(alert_id, job_id).partition("token=")[2]
    monkeypatch.setattr("wastewise_jobs.alerts.links._GOOD_FOR_DAYS", -1)
    old = LINKS.job(alert_id, job_id).partition("token=")[2]
    monkeypatch.undo()
    wrong = [(alert_id, other_job, token), (other_alert, job_id, token)]
    wrong += [
        (alert_id, job_id, word)
        for word in ("", old, token[:-1], f"9{token}", acknowledges, foreign, "x.ü")
    ]
    for alert, job, word in wrong:
        path = f"/alerts/{alert}/jobs/{job}"
        reply = await api.request("GET", path, user=None, params={"token": word})
        assert (reply.status, reply.code) == (403, "link_not_valid"), word
    # A good link to what is not this alert's shows nothing.
    reply = await api.get(LINKS.job(alert_id, other_job), user=None)
    assert (reply.status, reply.code) == (404, "job_not_found")
    assert (await api.get(LINKS.job(alert_id, uuid4()), user=None)).code == "job_not_found"
    page = f"/alerts/{alert_id}/acknowledge"
    reply = await api.request("POST", page, user=None, params={"token": token})
    assert reply.code == "link_not_valid"


@pytest.mark.parametrize("width", [760, 380])
async def test_in_a_browser_nothing_is_blocked_nothing_runs_and_nothing_overflows(
    api: Api, page: Any, width: int
) -> None:
    alert_id, job_id = await failed(api)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.set_viewport_size({"width": width, "height": 900})
    for link in (LINKS.job(alert_id, job_id), LINKS.acknowledge(alert_id)):
        await page.goto(f"{api.url}{link}")
        assert complaints == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        font = await page.evaluate("getComputedStyle(document.querySelector('h1')).fontSize")
        assert font == "20px"
