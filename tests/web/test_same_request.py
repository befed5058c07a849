"""A key stands for one request, whichever way it comes: from Python or over HTTP."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel, Field

from tests.support.api import ANN, BOB, Api, Reply
from wastewise_jobs import JobContext, JobRefusedError, Jobs
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.handlers.handler import Handler
from wastewise_jobs.jobs.model import Enqueued


class Wish(BaseModel):
    width: int
    note: str = Field("", alias="the note")


EUROPE = timezone(timedelta(hours=1))
WISH = Wish.model_validate({"width": 3, "the note": "ü"})
# What Python is asked for, and the same over HTTP.
SAME: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "as little as possible": ({}, {}),
    "an input": (
        {"input": {"b": [1, 2.5, None], "a": {"y": "ü", "x": True}}},
        {"inputData": {"a": {"x": True, "y": "ü"}, "b": [1, 2.5, None]}},
    ),
    "every option": (
        {
            "priority": 4,
            "max_retries": 0,
            "timeout": timedelta(minutes=1),
            "run_at": datetime(2026, 1, 31, 8, 0, 0, 500, EUROPE),
        },
        {
            "priority": 4,
            "maxRetries": 0,
            "timeoutSeconds": 60,
            "runAt": "2026-01-31T07:00:00.0005Z",
        },
    ),
    "a timeout in seconds": ({"timeout": 60}, {"timeoutSeconds": 60.0}),
    "a fraction of a second": ({"timeout": 0.5}, {"timeoutSeconds": 0.5}),
}


def handlers(api: Api) -> tuple[Handler[..., Any], Handler[..., Any]]:
    jobs = Jobs()
    jobs.bind(api.jobs, api.bell.ring)

    @jobs.handler("echo")
    async def echo(job: JobContext, input: dict[str, Any]) -> None: ...

    @jobs.handler("resize")
    async def resize(job: JobContext, input: Wish) -> None: ...

    return echo, resize


async def both(
    api: Api, handler: Handler[..., Any], python: Mapping[str, Any], http: Mapping[str, Any]
) -> None:
    """Each way first once; the other way finds its job."""
    asked: dict[str, Any] = {"input": {}, "user_id": ANN, **python}

    async def by_python(key: str) -> Enqueued:
        return await handler.enqueue(**asked, idempotency_key=key)

    async def by_http(key: str) -> Reply:
        return await api.analyze(jobType=handler.job_type, idempotencyKey=key, **http)

    job = await by_python("python first")
    reply = await by_http("python first")
    assert (reply.status, reply.json["jobId"]) == (200, str(job.id))

    reply = await by_http("http first")
    assert reply.status == 201, reply.body
    job = await by_python("http first")
    assert (job.disposition, str(job.id)) == ("existing", reply.json["jobId"])


@pytest.mark.parametrize("ask", SAME)
async def test_the_same_request_is_the_same_job_by_either_way(api: Api, ask: str) -> None:
    echo, _ = handlers(api)
    await both(api, echo, *SAME[ask])


async def test_a_project_and_a_model_are_the_same_by_either_way(api: Api, web_pool: Pool) -> None:
    _, resize = handlers(api)
    await web_pool.execute("UPDATE job_types SET input_schema = '{}'")
    project = await api.new_project()
    # As PostgreSQL's driver gives it: not quite a uuid.UUID.
    project_id = await web_pool.fetchval("SELECT id FROM projects")
    await both(
        api,
        resize,
        {"input": WISH, "project_id": project_id},
        {"inputData": {"width": 3, "the note": "ü"}, "projectId": project},
    )


@pytest.mark.parametrize(
    "more",
    [
        {"input": {"a": 2}},
        {"priority": 4},
        {"queue": "elsewhere"},
        {"delay": 60},
        {"timeout": 61},
        {"max_retries": 1},
        {"run_at": datetime(2026, 1, 31, tzinfo=UTC)},
    ],
)
async def test_another_request_under_the_key_is_refused(api: Api, more: Mapping[str, Any]) -> None:
    echo, _ = handlers(api)
    await api.analyze(inputData={"a": 1}, idempotencyKey="k")
    asked: dict[str, Any] = {"input": {"a": 1}, "user_id": ANN, "idempotency_key": "k"}
    with pytest.raises(JobRefusedError, match="another request"):
        await echo.enqueue(**{**asked, **more})
    assert (await echo.enqueue(**asked)).disposition == "existing"


async def test_a_key_is_of_one_user(api: Api) -> None:
    echo, _ = handlers(api)
    reply = await api.analyze(idempotencyKey="k")
    job = await echo.enqueue({}, user_id=BOB, idempotency_key="k")
    assert (job.disposition, str(job.id) == reply.json["jobId"]) == ("created", False)
