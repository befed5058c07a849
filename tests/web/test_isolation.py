"""What belongs to somebody else is answered exactly like what does not exist."""

from typing import Any
from uuid import UUID

import pytest

from tests.support.api import ADA, BOB, NOBODYS_ID, Api, Reply
from wastewise_jobs.projects.analysis_store import AnalysisStore

PROBES = [
    ("GET", "/api/jobs/{job}"),
    ("GET", "/api/jobs/{job}?wait=1"),
    ("DELETE", "/api/jobs/{job}"),
    ("POST", "/api/jobs/{job}/cancel"),
    ("POST", "/api/jobs/{job}/retry"),
    ("GET", "/api/jobs/{job}/events"),
    ("GET", "/api/jobs/{job}/rows"),
    ("GET", "/api/jobs/{job}/reports/html"),
    ("GET", "/api/jobs/{job}/reports/xlsx"),
    ("GET", "/api/projects/{project}"),
    ("DELETE", "/api/projects/{project}"),
    ("GET", "/api/projects/{project}/files"),
    ("GET", "/api/projects/{project}/files/a.csv"),
    ("PUT", "/api/projects/{project}/files/a.csv"),
    ("DELETE", "/api/projects/{project}/files/a.csv"),
]


async def things(api: Api) -> tuple[str, str]:
    """A failed job with everything it can have, and a project with a file."""
    project = await api.new_project()
    job = await api.new_job(projectId=project)
    async with api.pool.acquire() as connection:
        await AnalysisStore(connection).save_rows(UUID(job), ['{"a": 1}'])
        for name in ("html", "xlsx"):
            await AnalysisStore(connection).save_report(UUID(job), name, b"x")
    await api.put(f"/api/projects/{project}/files/a.csv", b"Date,Tons\n2026-01-01,5\n")
    return job, project


def comparable(reply: Reply) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    for name in ("x-request-id", "date"):
        del headers[name]
    body = dict(reply.json)
    body.pop("requestId")
    body.pop("instance")
    return {"status": reply.status, "body": body, "headers": headers}


@pytest.mark.parametrize(("method", "path"), PROBES)
async def test_foreign_and_missing_ids_get_the_same_answer(
    shared_api: Api, method: str, path: str
) -> None:
    job, project = await things(shared_api)
    data = b"x,y\n" if method == "PUT" else None
    foreign = await shared_api.request(
        method, path.format(job=job, project=project), user=BOB, data=data
    )
    missing = await shared_api.request(
        method, path.format(job=NOBODYS_ID, project=NOBODYS_ID), user=BOB, data=data
    )
    assert comparable(foreign) == comparable(missing)
    assert foreign.status == 404
    assert foreign.headers["Content-Length"] != "0"

    before = (await shared_api.get(f"/api/jobs/{job}")).json
    assert before["status"] == "pending"
    files = (await shared_api.get(f"/api/projects/{project}/files")).json["files"]
    assert [f["fileSize"] for f in files] == [23]


async def test_lists_hold_only_ones_own(api: Api) -> None:
    job, project = await things(api)
    for path, name in (("/api/jobs", "jobs"), ("/api/projects", "projects")):
        assert (await api.get(path, user=BOB)).json[name] == []
        mine = (await api.get(path)).json[name]
        admins = (await api.get(path, user=ADA, admin=True)).json[name]
        assert [x["id"] for x in mine] == [x["id"] for x in admins]
        assert [x["id"] for x in mine] == [job if name == "jobs" else project]


async def test_no_field_of_a_request_changes_whose_it_is(api: Api) -> None:
    for extra in ({"userId": str(BOB)}, {"user_id": str(BOB)}, {"status": "completed"}):
        reply = await api.analyze(**extra)
        assert (reply.status, reply.code) == (400, "unknown_field")


async def test_errors_tell_nothing_about_the_inside(api: Api) -> None:
    for path in ("/api/nothing", "/api/jobs/x", "/api/jobs?limit=x", "/..%2f..%2fetc/passwd"):
        text = (await api.get(path)).body.decode()
        for word in ("Traceback", "asyncpg", "SELECT", "pydantic", "wastewise_jobs/"):
            assert word not in text
