"""The API page: our own files only, and a real browser that has nothing to complain about."""

import hashlib
import json
from importlib.resources import files
from typing import Any

import pytest

from tests.support.api import ANN, Api, token

STATIC = files("wastewise_jobs.web") / "static"


def test_the_vendored_files_are_those_of_the_manifest() -> None:
    folder = STATIC / "swagger-ui"
    manifest = json.loads((folder / "manifest.json").read_text())
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if file.name != "manifest.json"
    }
    assert found == manifest["sha256"]
    assert {"LICENSE", "NOTICE", "swagger-ui-bundle.js", "swagger-ui.css"} <= set(found)
    assert manifest["version"].startswith("5.")


async def test_the_page_lets_nothing_else_in(shared_api: Api) -> None:
    page = await shared_api.get("/docs", user=None)
    text = page.body.decode()
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<script>" not in text
    assert "style=" not in text
    assert "//" not in text


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("init.js", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("swagger-ui.css", "text/css; charset=utf-8"),
        ("favicon-32x32.png", "image/png"),
    ],
)
async def test_files_of_the_page_are_sent_once(shared_api: Api, name: str, media_type: str) -> None:
    first = await shared_api.get(f"/docs/{name}", user=None)
    etag = {"If-None-Match": first.headers["ETag"]}
    again = await shared_api.get(f"/docs/{name}", user=None, headers=etag)
    plain = await shared_api.get(
        f"/docs/{name}", user=None, headers={"Accept-Encoding": "identity"}
    )
    assert (first.status, first.headers["Content-Type"]) == (200, media_type)
    assert (again.status, again.body) == (304, b"")
    assert plain.body == first.body
    assert first.headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("name", ["..%2Fapp.py", "manifest.json", "LICENSE", "%2e%2e", "x"])
async def test_nothing_but_the_named_files_is_served(shared_api: Api, name: str) -> None:
    reply = await shared_api.get(f"/docs/{name}", user=None)
    assert (reply.status, reply.code) == (404, "not_found")


async def test_a_browser_shows_the_page_without_an_error(api: Api, page: Any) -> None:
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.on("request", lambda request: asked.append(request.url))

    await page.goto(f"{api.url}/docs")
    await page.locator(".opblock").first.wait_for()
    operations = await page.locator(".opblock").count()
    documented = sum(len(methods) for methods in api.document["paths"].values())
    assert operations == documented
    assert await page.title() == "wastewise-jobs API"
    assert all(url.startswith((api.url, "data:")) for url in asked), asked
    assert complaints == []


async def test_a_request_can_be_tried_on_the_page(api: Api, page: Any) -> None:
    job_id = await api.new_job()
    await page.goto(f"{api.url}/docs")
    await page.click("button.authorize")
    await page.fill("input[type=text]", token(ANN))
    await page.click("button.authorize >> text=Authorize >> nth=-1")
    await page.click("button.btn-done")
    block = page.locator("#operations-Jobs-getApiJobs")
    await block.locator("button").first.click()
    await block.get_by_text("Try it out").click()
    await block.get_by_text("Execute", exact=True).click()
    await block.locator(".live-responses-table").get_by_text(job_id).first.wait_for()
