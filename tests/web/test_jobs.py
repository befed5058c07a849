"""Creating, looking at, listing, cancelling and retrying jobs. Bodies are compared whole."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from tests.support.api import ADA, ANN, BOB, NOBODYS_ID, Api, Reply, serving
from tests.support.factories import claim
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.model import ClaimedJob, Progress
from wastewise_jobs.jobs.outcome import Completed, Failed, RetryLater
from wastewise_jobs.projects.analysis_store import AnalysisStore
from wastewise_jobs.web.api import jobs as jobs_module

TYPES = ("echo", "complete_analysis", "report_generation", "resize")


async def claim_one(api: Api, job_id: str) -> ClaimedJob:
    (job,) = await claim(api.jobs, job_types=TYPES, queues=("default", "reports"))
    assert str(job.id) == job_id
    return job


async def fail(api: Api, job_id: str) -> None:
    job = await claim_one(api, job_id)
    await api.jobs.fail([(job, Failed("BROKEN", "it broke", "permanent", {"at": "row 3"}))])


def as_time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo is not None
    return moment


async def test_a_new_job_is_answered_with_its_place(api: Api) -> None:
    project = await api.new_project()

    reply = await api.analyze(jobType="complete_analysis", projectId=project, inputData={})

    assert reply.status == 201
    job_id = reply.json["jobId"]
    assert reply.json == {
        "jobId": job_id,
        "status": "pending",
        "priority": 3,
        "priorityReason": "first analysis of a first-time user",
        "message": "The job was created.",
    }
    assert reply.headers["Location"] == f"/api/jobs/{job_id}"
    assert (await api.get(reply.headers["Location"])).status == 200
    assert api.bell.rings == ["default"]


async def test_work_on_everybodys_jobs_is_for_admins(api: Api) -> None:
    refused = await api.post("/api/analyze", {"jobType": "sweep"})
    assert (refused.status, refused.code) == (403, "forbidden")
    assert refused.json["field"] == "jobType"
    allowed = await api.post("/api/analyze", {"jobType": "sweep"}, user=ADA, admin=True)
    assert allowed.status == 201


async def test_the_queue_of_the_job_type_is_rung(api: Api) -> None:
    await api.new_job(jobType="report_generation")
    assert api.bell.rings == ["reports"]


async def test_a_job_that_waits_is_shown_whole(api: Api) -> None:
    project = await api.new_project()
    job_id = await api.new_job(projectId=project, inputData={"a": [1, 2.5, "ä"]})

    body = (await api.get(f"/api/jobs/{job_id}")).json

    assert as_time(body["timing"].pop("createdAt")) == as_time(body.pop("updatedAt"))
    assert body == {
        "id": job_id,
        "projectId": project,
        "jobType": "echo",
        "status": "pending",
        "priority": 5,
        "priorityReason": "regular job",
        "progress": {
            "percent": 0,
            "currentStep": None,
            "stepsCompleted": 0,
            "totalSteps": None,
        },
        "timing": {
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
    }


async def test_a_completed_job_shows_its_result(api: Api) -> None:
    job_id = await api.new_job()
    job = await claim_one(api, job_id)
    await api.jobs.progress([(job, Progress(40, "reading", 2, 5))])
    running = (await api.get(f"/api/jobs/{job_id}")).json
    await api.jobs.complete([(job, Completed('{"saved": 12.5}'))])

    body = (await api.get(f"/api/jobs/{job_id}")).json

    assert running["status"] == "processing"
    assert running["workerId"] == "w1"
    assert running["progress"] == {
        "percent": 40,
        "currentStep": "reading",
        "stepsCompleted": 2,
        "totalSteps": 5,
    }
    assert (body["status"], body["result"]) == ("completed", {"saved": 12.5})
    assert body["timing"]["durationSeconds"] >= 0
    assert as_time(body["timing"]["startedAt"]) <= as_time(body["timing"]["completedAt"])


async def test_a_failed_job_says_why(api: Api) -> None:
    job_id = await api.new_job()
    job = await claim_one(api, job_id)
    await api.jobs.retry([(job, RetryLater("TIMEOUT", "too slow", "retryable"))])

    waiting = (await api.get(f"/api/jobs/{job_id}")).json
    assert waiting["status"] == "pending"
    assert as_time(waiting["timing"]["retryAfter"]) > datetime.now(UTC)
    assert waiting["retryInfo"]["retryCount"] == 1
    assert [e["error_message"] for e in waiting["retryInfo"]["errors"]] == ["too slow"]

    other = await api.new_job()
    await fail(api, other)
    body = (await api.get(f"/api/jobs/{other}")).json
    assert body["status"] == "failed"
    assert body["error"]["message"] == "it broke"
    assert body["error"]["code"] == "BROKEN"
    assert body["error"]["details"]["at"] == "row 3"


async def test_the_same_key_and_request_give_the_same_job(api: Api) -> None:
    first = await api.analyze(inputData={"a": 1, "b": 2}, idempotencyKey="k1")
    again = await api.analyze(inputData={"b": 2, "a": 1}, headers={"Idempotency-Key": "k1"})
    other = await api.analyze(inputData={"a": 2}, idempotencyKey="k1")
    somebody = await api.analyze(inputData={"a": 2}, idempotencyKey="k1", user=BOB)

    assert (first.status, again.status, other.status, somebody.status) == (201, 200, 409, 201)
    assert again.json == first.json | {"message": "This request created this job before."}
    assert again.headers["Location"] == first.headers["Location"]
    assert (other.code, other.json["field"]) == ("idempotency_conflict", "idempotencyKey")
    assert api.bell.rings == ["default", "default"]


@pytest.mark.parametrize(
    "change",
    [
        {"priority": 4},
        {"maxRetries": 1},
        {"timeoutSeconds": 5},
        {"runAt": "2026-01-01T00:00:00Z"},
        {"jobType": "report_generation"},
    ],
)
async def test_the_key_stands_for_every_part_of_the_request(
    api: Api, change: dict[str, Any]
) -> None:
    assert (await api.analyze(idempotencyKey="k")).status == 201
    assert (await api.analyze(idempotencyKey="k", **change)).code == "idempotency_conflict"


async def test_two_keys_that_differ_are_refused(api: Api) -> None:
    reply = await api.analyze(idempotencyKey="a", headers={"Idempotency-Key": "b"})
    assert (reply.status, reply.json["field"]) == (400, "Idempotency-Key")
    long = await api.analyze(headers={"Idempotency-Key": "x" * 256})
    assert (long.status, long.json["field"]) == (400, "Idempotency-Key")
    assert (await api.analyze(headers={"Idempotency-Key": "x" * 255})).status == 201


async def test_an_unknown_job_type_is_answered_with_those_that_exist(api: Api) -> None:
    reply = await api.analyze(jobType="complete analysis")
    problem = (
        "is no known job type; known are: complete_analysis, echo, regulatory_research, "
        "report_generation, resize, sweep"
    )
    assert reply.status == 400
    assert reply.json == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": f"jobType: {problem}",
        "code": "unknown_job_type",
        "requestId": reply.headers["X-Request-Id"],
        "instance": "/api/analyze",
        "field": "jobType",
        "errors": [{"field": "jobType", "problem": problem}],
    }


async def test_a_type_registered_a_moment_ago_is_known(api: Api) -> None:
    from wastewise_jobs.jobs.model import JobTypeInfo
    from wastewise_jobs.jobs.types import JobTypeStore

    assert (await api.analyze(jobType="brand_new")).code == "unknown_job_type"
    await JobTypeStore(api.pool).register([JobTypeInfo("brand_new")])
    assert (await api.analyze(jobType="brand_new")).status == 201


async def test_a_type_that_cannot_run_here_says_what_to_do(api: Api) -> None:
    reply = await api.analyze(jobType="regulatory_research")
    assert (reply.status, reply.code) == (422, "job_type_refused")
    assert reply.json["detail"] == "no endpoint is configured for regulatory research"


async def test_a_type_that_needs_a_project_says_so(api: Api) -> None:
    reply = await api.analyze(jobType="complete_analysis")
    assert (reply.status, reply.code, reply.json["field"]) == (
        400,
        "project_required",
        "projectId",
    )


@pytest.mark.parametrize(
    ("job_type", "value", "field"),
    [
        ("resize", {}, "inputData.width"),
        ("resize", {"width": "wide"}, "inputData.width"),
        ("resize", {"width": 1, "ref": "no-uuid"}, "inputData.ref"),
        ("complete_analysis", {"bogus": 1}, "inputData.bogus"),
        ("complete_analysis", {"files": ["a.csv", 3]}, "inputData.files.1"),
        ("complete_analysis", {"months": 0}, "inputData.months"),
    ],
)
async def test_an_input_that_its_type_refuses_is_named(
    api: Api, job_type: str, value: dict[str, Any], field: str
) -> None:
    project = await api.new_project()
    reply = await api.analyze(jobType=job_type, inputData=value, projectId=project)
    assert (reply.status, reply.code, reply.json["field"]) == (400, "invalid_input", field)


async def test_users_may_ask_down_to_the_floor_and_are_told(web_pool: Pool) -> None:
    async with serving(web_pool, user_priority_floor=4) as api:
        clamped = (await api.analyze(priority=1)).json
        asked = (await api.analyze(priority=8)).json
        assigned = (await api.analyze()).json
        admins = (await api.analyze(user=ADA, admin=True, priority=2)).json
        plain = (await api.analyze(user=ADA, admin=True)).json

    assert [x["priority"] for x in (clamped, asked, assigned, admins, plain)] == [4, 8, 5, 2, 1]
    assert clamped["priorityReason"] == "asked for 1; users may ask for 4 at most"
    assert asked["priorityReason"] == "asked for"
    assert admins["priorityReason"] == "asked for by an admin"
    assert plain["priorityReason"] == "admin"


async def test_run_at_delays_the_job(api: Api) -> None:
    job_id = await api.new_job(runAt="2099-07-01T12:00:00+02:00")
    body = (await api.get(f"/api/jobs/{job_id}")).json
    assert as_time(body["timing"]["retryAfter"]) == datetime(2099, 7, 1, 10, tzinfo=UTC)
    assert await claim(api.jobs, job_types=TYPES) == []
    assert api.bell.rings == []


async def test_retries_and_timeout_are_taken_over(api: Api) -> None:
    job_id = await api.new_job(maxRetries=0, timeoutSeconds=12.5)
    job = await claim_one(api, job_id)
    assert (job.max_retries, job.timeout_seconds) == (0, 12.5)


async def test_a_project_of_somebody_else_is_missing(api: Api) -> None:
    theirs = await api.new_project(user=BOB)
    foreign = await api.analyze(projectId=theirs)
    missing = await api.analyze(projectId=NOBODYS_ID)
    assert foreign.status == missing.status == 404
    assert same_but_for_ids(foreign) == same_but_for_ids(missing)
    assert foreign.code == "project_not_found"


async def test_an_admins_job_belongs_to_the_owner_of_its_project(api: Api) -> None:
    theirs = await api.new_project(user=BOB)
    job_id = await api.new_job(projectId=theirs, user=ADA, admin=True)
    assert (await api.get(f"/api/jobs/{job_id}", user=BOB)).status == 200
    assert (await api.get(f"/api/jobs/{job_id}", user=ADA)).status == 404
    assert (await api.get(f"/api/jobs/{job_id}", user=ADA, admin=True)).status == 200


async def test_a_project_that_goes_away_in_between_is_a_422(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wastewise_jobs.projects.store import ProjectStore

    async def owners(_: object, ids: list[UUID]) -> dict[UUID, UUID]:
        return dict.fromkeys(ids, ANN)

    monkeypatch.setattr(ProjectStore, "owners", owners)
    reply = await api.analyze(projectId=NOBODYS_ID)
    assert (reply.status, reply.code, reply.json["field"]) == (422, "project_gone", "projectId")


async def test_a_list_is_paged_and_nothing_is_lost_at_equal_times(api: Api) -> None:
    await asyncio.gather(*(api.new_job(inputData={"n": n}) for n in range(23)))
    await api.pool.execute("UPDATE analysis_jobs SET created_at = '2026-01-01T00:00:00Z'")
    await api.new_job(user=BOB)

    seen, cursor, pages = [], None, 0
    while True:
        query = {"limit": "5"} | ({"cursor": cursor} if cursor else {})
        body = (await api.get("/api/jobs", params=query)).json
        seen += [job["id"] for job in body["jobs"]]
        pages += 1
        assert body["pagination"]["limit"] == 5
        cursor = body["pagination"]["nextCursor"]
        assert body["pagination"]["hasMore"] == (cursor is not None)
        if cursor is None:
            break

    assert (len(seen), len(set(seen)), pages) == (23, 23, 5)
    assert seen == sorted(seen, reverse=True)


async def test_a_list_says_of_a_job_what_the_job_says_but_the_result(api: Api) -> None:
    job_id = await api.new_job()
    await api.jobs.complete([(await claim_one(api, job_id), Completed('{"large": 1}'))])
    whole = (await api.get(f"/api/jobs/{job_id}")).json
    body = (await api.get("/api/jobs")).json
    del whole["result"]
    assert body == {
        "jobs": [whole],
        "pagination": {"limit": 50, "hasMore": False, "nextCursor": None},
    }


async def test_lists_are_filtered(api: Api) -> None:
    project = await api.new_project()
    waiting = await api.new_job(jobType="report_generation")
    of_project = await api.new_job(projectId=project)
    cancelled = await api.new_job()
    await api.delete(f"/api/jobs/{cancelled}")

    async def ids(query: str, **options: Any) -> set[str]:
        reply = await api.get(f"/api/jobs?{query}", **options)
        assert reply.status == 200, reply.body
        return {job["id"] for job in reply.json["jobs"]}

    assert await ids("status=pending") == {waiting, of_project}
    assert await ids("status=pending&status=cancelled") == {waiting, of_project, cancelled}
    assert await ids("jobType=report_generation") == {waiting}
    assert await ids(f"projectId={project.upper()}") == {of_project}
    assert await ids("jobType=never_heard_of") == set()
    assert await ids("", user=BOB) == set()
    assert await ids("", user=ADA, admin=True) == {waiting, of_project, cancelled}
    assert await ids(f"userId={ANN}", user=ADA, admin=True) == {waiting, of_project, cancelled}
    assert await ids(f"userId={BOB}", user=ADA, admin=True) == set()
    assert await ids(f"userId={ANN}") == {waiting, of_project, cancelled}
    refused = await api.get(f"/api/jobs?userId={BOB}")
    assert (refused.status, refused.code, refused.json["field"]) == (403, "forbidden", "userId")


@pytest.mark.parametrize("way", ["DELETE", "POST"])
async def test_cancelling_tells_what_was_reached(api: Api, way: str) -> None:
    async def cancel(job_id: str) -> Reply:
        path = f"/api/jobs/{job_id}" + ("/cancel" if way == "POST" else "")
        return await api.request(way, path)

    waiting, running = await api.new_job(priority=9), await api.new_job(priority=2)
    await claim_one(api, running)

    now, soon, late = await cancel(waiting), await cancel(running), await cancel(waiting)

    assert now.status == 200
    assert now.json == {"jobId": waiting, "status": "cancelled", "message": "Cancelled."}
    assert soon.status == 202
    assert soon.json == {
        "jobId": running,
        "status": "processing",
        "message": "The worker is asked to stop; the job ends within seconds.",
    }
    assert (late.status, late.code) == (409, "job_finished")


async def test_only_a_failed_job_is_retried(api: Api) -> None:
    job_id = await api.new_job(jobType="report_generation")
    refused = await api.post(f"/api/jobs/{job_id}/retry")
    await fail(api, job_id)
    api.bell.rings.clear()
    reply = await api.post(f"/api/jobs/{job_id}/retry")
    body = (await api.get(f"/api/jobs/{job_id}")).json

    assert (refused.status, refused.code) == (409, "job_not_failed")
    assert reply.status == 200
    assert reply.json == {
        "jobId": job_id,
        "status": "pending",
        "message": "The job is pending again.",
    }
    assert (body["status"], body["retryInfo"]["retryCount"], body["error"]) == ("pending", 0, None)
    assert api.bell.rings == ["reports"]


async def test_a_long_poll_ends_when_the_job_does(api: Api) -> None:
    job_id = await api.new_job()
    waiting = asyncio.create_task(api.get(f"/api/jobs/{job_id}?wait=30"))
    await eventually(lambda: api.watcher.queries > 0)
    assert not waiting.done()
    await api.jobs.complete([(await claim_one(api, job_id), Completed("[1]"))])
    body = (await asyncio.wait_for(waiting, 5)).json
    assert (body["status"], body["result"]) == ("completed", [1])


async def test_a_long_poll_that_is_over_shows_the_present(api: Api) -> None:
    job_id = await api.new_job()
    body = (await api.get(f"/api/jobs/{job_id}?wait=0.05")).json
    assert body["status"] == "pending"


async def test_waiting_requests_are_counted_for_each_user(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    del monkeypatch
    most = jobs_module._MOST_WAITS
    job_id = await api.new_job()
    waiting = [asyncio.create_task(api.get(f"/api/jobs/{job_id}?wait=20")) for _ in range(most)]
    await eventually(lambda: sum(len(w) for w in api.watcher._watches.values()) == most)
    refused = await api.get(f"/api/jobs/{job_id}?wait=20")
    assert (refused.status, refused.code) == (429, "too_many_waits")
    assert refused.headers["Retry-After"] == "5"
    await api.delete(f"/api/jobs/{job_id}")
    replies = await asyncio.gather(*waiting)
    assert {reply.json["status"] for reply in replies} == {"cancelled"}


async def test_rows_are_paged_in_order(api: Api) -> None:
    job_id = await api.new_job()
    rows = [{"line": n, "amount": "12.50"} for n in range(7)]
    async with api.pool.acquire() as connection:
        texts = [json.dumps(row) for row in rows]
        await AnalysisStore(connection).save_rows(UUID(job_id), texts)

    first = (await api.get(f"/api/jobs/{job_id}/rows?limit=4")).json
    cursor = first["pagination"]["nextCursor"]
    second = (await api.get(f"/api/jobs/{job_id}/rows", params={"cursor": cursor})).json

    assert first["rows"] == [{"position": n + 1, "data": rows[n]} for n in range(4)]
    assert first["pagination"] == {"limit": 4, "hasMore": True, "nextCursor": cursor}
    assert second == {
        "rows": [{"position": n + 1, "data": rows[n]} for n in range(4, 7)],
        "pagination": {"limit": 50, "hasMore": False, "nextCursor": None},
    }
    other = await api.new_job()
    mixed_up = await api.get(f"/api/jobs/{other}/rows", params={"cursor": cursor})
    assert (mixed_up.status, mixed_up.code) == (400, "invalid_cursor")


async def test_reports_are_shown_without_rights(api: Api) -> None:
    job_id = await api.new_job()
    html = "<h1>Österreich</h1><script>alert(1)</script>".encode()
    async with api.pool.acquire() as connection:
        await AnalysisStore(connection).save_report(UUID(job_id), "html", html)
        await AnalysisStore(connection).save_report(UUID(job_id), "xlsx", b"PK\x03\x04")

    page = await api.get(f"/api/jobs/{job_id}/reports/html")
    book = await api.get(f"/api/jobs/{job_id}/reports/xlsx")

    assert (page.body, page.headers["Content-Type"]) == (html, "text/html; charset=utf-8")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script" not in policy
    assert book.body == b"PK\x03\x04"
    assert book.headers["Content-Type"].endswith("spreadsheetml.sheet")
    name = f'attachment; filename="wastewise-{job_id}.xlsx"'
    assert book.headers["Content-Disposition"] == name
    other = await api.new_job()
    missing = await api.get(f"/api/jobs/{other}/reports/html")
    assert (missing.status, missing.code) == (404, "report_not_found")
    assert (await api.get(f"/api/jobs/{job_id}/reports/pdf")).code == "invalid_value"


async def test_a_row_that_no_reader_can_decode_harms_only_itself(api: Api) -> None:
    good, bad = await api.new_job(), await api.new_job()
    await api.pool.execute(
        "UPDATE analysis_jobs SET result_data = '{\"a\": 1e100000}', error_message = 'x', "
        "error_details = '[1e100000]', retry_error_log = '[1e100000, {\"n\": 1e5000}]' "
        "WHERE id = $1",
        UUID(bad),
    )
    assert (await api.get(f"/api/jobs/{bad}")).status == 200
    listed = (await api.get("/api/jobs")).json["jobs"]
    assert {job["id"] for job in listed} == {good, bad}


def same_but_for_ids(reply: Reply) -> dict[str, Any]:
    body = dict(reply.json)
    assert body.pop("requestId") == reply.headers["X-Request-Id"]
    body.pop("instance")
    return body
