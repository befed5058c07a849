"""The client against servers that misbehave; the real API is met in test_client.py."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from tests.support.waiting import eventually
from wastewise_jobs.client import (
    Client,
    ConflictError,
    NotAuthorizedError,
    NotFoundError,
    RateLimitedError,
    ServiceError,
    ServiceUnreachableError,
    UnexpectedAnswerError,
)
from wastewise_jobs.client.transport import Transport
from wastewise_jobs.errors import InvalidInputError
from wastewise_jobs.wire.projects import MAX_FILE_BYTES, ProjectRequest

JOB = UUID("0190f9a5-23c1-7e8f-9a6b-2d5e8c1f0a37")
Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wastewise_jobs.client.transport._FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("wastewise_jobs.client.client._LONGEST_RECONNECT_PAUSE_SECONDS", 0.001)


@asynccontextmanager
async def serving(answering: Answering) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answering)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


def problem(status: int, code: str, **more: Any) -> web.Response:
    body = {"type": "about:blank", "title": "No", "status": status, "detail": "why", "code": code}
    return web.json_response(
        {**body, "requestId": "r-1", **more}, status=status, content_type="application/problem+json"
    )


def job(status: str, percent: int = 0) -> dict[str, Any]:
    at = "2026-01-31T08:00:00+00:00"
    return {
        "id": str(JOB),
        "projectId": None,
        "jobType": "cleanup",
        "status": status,
        "priority": 5,
        "priorityReason": None,
        "progress": {
            "percent": percent,
            "currentStep": None,
            "stepsCompleted": 0,
            "totalSteps": None,
        },
        "timing": {
            "createdAt": at,
            "startedAt": None,
            "completedAt": None,
            "estimatedCompletion": None,
            "durationSeconds": None,
            "retryAfter": None,
        },
        "result": None,
        "error": None,
        "retryInfo": {"retryCount": 0, "maxRetries": 3, "errors": []},
        "aiUsage": {"requests": 0, "tokensInput": 0, "tokensOutput": 0, "costUsd": 0.0},
        "workerId": None,
        "updatedAt": at,
        "aFieldOfTomorrow": True,
    }


def submitted() -> web.Response:
    answer = {
        "jobId": str(JOB),
        "status": "pending",
        "priority": 5,
        "priorityReason": None,
        "message": "",
    }
    return web.json_response(answer, status=201)


async def test_a_submission_is_repeated_under_one_key_until_it_is_answered() -> None:
    keys: list[str] = []

    async def answering(request: web.Request) -> web.StreamResponse:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            assert request.transport is not None
            request.transport.abort()
        if len(keys) == 2:
            return problem(503, "overloaded")
        return submitted()

    async with serving(answering) as url, Client(url) as client:
        answer = await client.submit("cleanup")
        assert answer.job_id == JOB
        await client.submit("cleanup")
    assert len(keys) == 4
    assert keys[0] == keys[1] == keys[2] != keys[3]


async def test_a_new_project_is_not_sent_twice() -> None:
    seen: list[str] = []

    async def answering(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    project = ProjectRequest(
        property_name="Oak Park", units=100, city="Austin", state="TX", equipment_type="COMPACTOR"
    )
    async with serving(answering) as url, Client(url) as client:
        with pytest.raises(ServiceUnreachableError):
            await client.create_project(project)
    assert seen == ["/api/projects"]


async def test_repeats_are_bounded() -> None:
    seen: list[str] = []

    async def answering(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        return problem(503, "draining")

    async with serving(answering) as url, Client(url) as client:
        with pytest.raises(ServiceError, match=r"why \(draining\)") as caught:
            await client.job(JOB)
    assert len(seen) == 5
    assert caught.value.request_id == "r-1"


async def test_a_long_retry_after_is_not_waited_for() -> None:
    async def answering(_: web.Request) -> web.StreamResponse:
        answer = problem(429, "rate_limited")
        answer.headers["Retry-After"] = "3600"
        return answer

    async with serving(answering) as url, Client(url) as client:
        async with asyncio.timeout(5):
            with pytest.raises(RateLimitedError):
                await client.submit("cleanup")


async def test_a_service_that_is_just_starting_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = asyncio.Event()

    def pause(_: int) -> float:
        refused.set()
        return 0.2

    async def answering(_: web.Request) -> web.StreamResponse:
        return web.Response(status=201)

    monkeypatch.setattr("wastewise_jobs.client.transport._backoff", pause)
    port = unused_port()
    async with Transport(f"http://127.0.0.1:{port}", None, most_attempts=50) as http:
        asking = asyncio.create_task(http.request("POST", "/api/projects", repeatable=False))
        await asyncio.wait_for(refused.wait(), 10)
        app = web.Application()
        app.router.add_post("/api/projects", answering)
        async with TestServer(app, port=port):
            assert (await asking).status == 201


async def test_a_refused_connection_says_so() -> None:
    async with Transport(f"http://127.0.0.1:{unused_port()}", None, most_attempts=2) as http:
        with pytest.raises(ServiceUnreachableError, match="connection refused"):
            await http.request("POST", "/api/projects", repeatable=False)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, NotAuthorizedError), (403, NotAuthorizedError), (404, NotFoundError),
     (409, ConflictError), (500, ServiceError)],
)  # fmt: skip
async def test_problems_become_errors_of_their_kind(status: int, kind: type[Exception]) -> None:
    async def answering(_: web.Request) -> web.StreamResponse:
        return problem(status, "some_code", field="inputData.files")

    async with serving(answering) as url, Client(url) as client:
        with pytest.raises(kind, match=r"inputData.files: why \(some_code\)"):
            await client.job(JOB)


async def test_an_answer_of_something_else_is_told_apart() -> None:
    async def answering(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("cancel"):
            raise web.HTTPFound("https://elsewhere.example/")
        if request.path.startswith("/api/projects"):
            return web.Response(status=418, text="<html>")
        return web.json_response({"hello": "world"})

    async with serving(answering) as url, Client(url) as client:
        with pytest.raises(UnexpectedAnswerError, match="id"):
            await client.job(JOB)
        with pytest.raises(UnexpectedAnswerError, match="elsewhere"):
            await client.cancel(JOB)
        with pytest.raises(UnexpectedAnswerError, match="418"):
            await client.project(JOB)


async def test_the_token_and_the_file_name_arrive_unchanged() -> None:
    seen: list[tuple[str, str]] = []

    async def answering(request: web.Request) -> web.StreamResponse:
        seen.append((request.headers["Authorization"], request.raw_path))
        body = {
            "id": str(JOB),
            "fileName": "x",
            "fileType": "invoice",
            "fileSize": 1,
            "uploadedAt": "2026-01-31T08:00:00Z",
        }
        return web.json_response(body, status=201)

    async with serving(answering) as url, Client(url, "t0ken") as client:
        await client.upload_file(JOB, "50% off/Müll #1.csv", b"x", file_type="invoice")
    path = f"/api/projects/{JOB}/files/50%25%20off%2FM%C3%BCll%20%231.csv?fileType=invoice"
    assert seen == [("Bearer t0ken", path)]


async def test_values_that_the_api_would_refuse_are_not_sent() -> None:
    async with Client("http://127.0.0.1:1") as client:
        with pytest.raises(InvalidInputError, match="priority"):
            await client.submit("cleanup", priority=11)
        with pytest.raises(InvalidInputError, match="larger"):
            await client.upload_file(JOB, "big.csv", b"x" * (MAX_FILE_BYTES + 1))


async def test_a_broken_event_stream_is_taken_up_where_it_broke() -> None:
    resumed_after: list[str | None] = []

    async def answering(request: web.Request) -> web.StreamResponse:
        resumed_after.append(request.headers.get("Last-Event-ID"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(number: int, name: str, status: str, percent: int) -> None:
            data = orjson.dumps(job(status, percent)).decode()
            await response.write(f"id: {number}\nevent: {name}\ndata: {data}\n\n".encode())

        if len(resumed_after) == 1:
            await send(1, "progress", "processing", 40)
            await response.write(b"id: 2\nevent: progress\ndata: {half")
            assert request.transport is not None
            request.transport.abort()
        elif len(resumed_after) == 3:
            await send(3, "status", "completed", 100)
        return response

    async with serving(answering) as url, Client(url) as client:
        reasons: list[str] = []
        events = client.events(JOB, on_break=reasons.append)
        seen = [(seen.status, seen.progress.percent) async for seen in events]
    assert seen == [("processing", 40), ("completed", 100)]
    assert resumed_after == [None, "1", "1"]
    assert len(reasons) == 2
    assert reasons[1] == "the event stream ended early"


async def test_a_service_that_is_gone_is_told_in_few_words() -> None:
    reasons: list[str] = []

    async def broken(client: Client) -> None:
        async for _ in client.events(JOB, on_break=reasons.append):
            pass

    async with Client("http://127.0.0.1:1") as client:
        following = asyncio.create_task(broken(client))
        await eventually(lambda: reasons)
        following.cancel()
    assert reasons[0] == "connection refused"


async def test_tls_towards_a_service_that_speaks_none_is_told_as_such() -> None:
    async def answering(_: web.Request) -> web.StreamResponse:
        return web.Response()

    async with serving(answering) as url, Client(url.replace("http:", "https:")) as client:
        with pytest.raises(ServiceUnreachableError, match="tls failed: "):
            await client.job(JOB)


async def test_a_stream_that_never_says_anything_is_given_up() -> None:
    async def answering(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        return response

    async with serving(answering) as url, Client(url) as client:
        with pytest.raises(ServiceUnreachableError, match="ended early"):
            async for _ in client.events(JOB):
                pass
