"""Properties and their files."""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from yarl import URL

from tests.support.api import ANN, PROJECT, Api, token
from tests.support.factories import claim
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.projects import store as project_store_module
from wastewise_jobs.wire.projects import MAX_FILE_BYTES

INVOICES = (
    b"Invoice Number,Invoice Date,Service Period Start,Service Period End,Vendor Name,"
    b"Service Type,Description,Amount\n"
    b"1001,2025-01-31,2025-01-01,2025-01-31,Acme,Hauling,Compactor pull,850.00\n"
)
HAULS = b"Date,Time,Container Type,Tons,Location,Notes\n2025-01-03,08:15,Compactor,5.2,North,\n"


async def test_a_project_is_answered_as_it_was_given(api: Api) -> None:
    given = PROJECT | {"containers": 4, "containerYards": 6, "pickupsPerWeek": 2.5}
    reply = await api.post("/api/projects", given)
    body = reply.json
    assert reply.status == 201
    assert body == given | {
        "id": body["id"],
        "status": "draft",
        "createdAt": body["createdAt"],
        "containerYards": 6.0,
    }
    assert reply.headers["Location"] == f"/api/projects/{body['id']}"
    assert datetime.fromisoformat(body["createdAt"]).tzinfo is not None
    whole = (await api.get(f"/api/projects/{body['id']}")).json
    assert whole == body | {
        "progress": 0,
        "totalSavings": None,
        "errorMessage": None,
        "updatedAt": whole["updatedAt"],
    }
    assert (await api.get("/api/projects")).json == {
        "projects": [whole],
        "pagination": {"limit": 50, "hasMore": False, "nextCursor": None},
    }


async def test_names_of_types_are_taken_in_any_case(api: Api) -> None:
    given = PROJECT | {"propertyType": "mid-RISE", "equipmentType": "mixed"}
    body = (await api.post("/api/projects", given)).json
    assert (body["propertyType"], body["equipmentType"]) == ("Mid-Rise", "MIXED")
    plain = {k: v for k, v in PROJECT.items() if k != "propertyType"}
    assert (await api.post("/api/projects", plain)).json["propertyType"] is None


async def test_projects_are_paged(api: Api) -> None:
    ids = [await api.new_project() for _ in range(5)]
    await api.pool.execute("UPDATE projects SET created_at = '2026-01-01T00:00:00Z'")
    first = (await api.get("/api/projects?limit=3")).json
    cursor = first["pagination"]["nextCursor"]
    second = (await api.get("/api/projects", params={"cursor": cursor, "limit": "3"})).json
    seen = [p["id"] for p in first["projects"] + second["projects"]]
    assert sorted(seen) == sorted(ids)
    assert second["pagination"]["hasMore"] is False


async def test_a_project_goes_with_everything_but_not_under_a_running_job(api: Api) -> None:
    project = await api.new_project()
    await api.put(f"/api/projects/{project}/files/a.csv", INVOICES)
    job_id = await api.new_job(projectId=project)

    waiting = await api.delete(f"/api/projects/{project}")
    (job,) = await claim(api.jobs, job_types=("echo",))
    running = await api.delete(f"/api/projects/{project}")
    await api.jobs.complete([(job, Completed("1"))])
    finished = await api.delete(f"/api/projects/{project}")

    assert (waiting.status, waiting.code) == (409, "project_busy")
    assert (running.status, running.code) == (409, "project_busy")
    assert (finished.status, finished.body) == (204, b"")
    assert (await api.get(f"/api/projects/{project}")).code == "project_not_found"
    assert (await api.get(f"/api/jobs/{job_id}")).code == "job_not_found"
    for table in ("project_files", "project_file_contents", "analysis_jobs", "job_queue"):
        assert await api.pool.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608


@pytest.mark.parametrize(
    ("name", "content", "query", "file_type"),
    [
        ("invoices.csv", INVOICES, "", "invoice"),
        ("hauls.csv", HAULS, "", "haul_log"),
        ("notes.txt", b"call the vendor\n", "", "other"),
        ("x.xlsx", b"PK\x03\x04 no workbook", "", "other"),
        ("hauls.csv", HAULS, "?fileType=invoice", "invoice"),
        ("notes.txt", b"call the vendor\n", "?fileType=haul_log", "haul_log"),
    ],
)
async def test_a_file_is_recognised_or_taken_as_told(
    shared_api: Api, name: str, content: bytes, query: str, file_type: str
) -> None:
    project = await shared_api.new_project()
    reply = await shared_api.put(f"/api/projects/{project}/files/{name}{query}", content)
    body = reply.json
    assert reply.status == 201, reply.body
    assert body == {
        "id": body["id"],
        "fileName": name,
        "fileType": file_type,
        "fileSize": len(content),
        "uploadedAt": body["uploadedAt"],
    }
    listed = (await shared_api.get(f"/api/projects/{project}/files")).json
    assert listed == {"files": [body]}


async def test_a_second_upload_replaces_the_first(api: Api) -> None:
    project = await api.new_project()
    path = f"/api/projects/{project}/files/data.csv"
    first = await api.put(path, INVOICES)
    second = await api.put(path, HAULS)
    assert (first.status, second.status) == (201, 200)
    assert second.json["id"] == first.json["id"]
    assert (second.json["fileType"], second.json["fileSize"]) == ("haul_log", len(HAULS))
    back = await api.get(path)
    assert back.body == HAULS
    assert back.headers["Content-Type"] == "text/csv"
    assert back.headers["Content-Disposition"] == "attachment; filename*=UTF-8''data.csv"
    assert back.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert (await api.delete(path)).status == 204
    gone = await api.delete(path)
    assert (gone.status, gone.code) == (404, "file_not_found")
    assert (await api.get(path)).code == "file_not_found"


async def test_what_a_client_calls_html_is_never_shown_as_ours(api: Api) -> None:
    project = await api.new_project()
    path = f"/api/projects/{project}/files/page.html"
    await api.put(path, b"<script>alert(1)</script>", headers={"Content-Type": "text/html"})
    back = await api.get(path)
    assert back.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in back.headers["Content-Security-Policy"]


GOOD_NAMES = ["a.csv", "März 2025 (final).csv", "100% sure.csv", "a'b\"c.csv", "ü" * 127, "..x"]
BAD_NAMES = ["a/b.csv", "..\\x", "a\x00b", "a\nb", "ü" * 128, " a.csv", "a\x7f", "a\u2028b"]


@pytest.mark.parametrize("name", GOOD_NAMES)
async def test_a_file_keeps_its_name(shared_api: Api, name: str) -> None:
    project = await shared_api.new_project()
    path = f"/api/projects/{project}/files/{quote(name, safe='')}"
    async with shared_api.session.put(
        shared_api.url + path, data=b"x", headers=bearer(), skip_auto_headers=["Content-Type"]
    ) as response:
        body = await response.json()
    assert (response.status, body.get("fileName")) == (201, name)
    assert (await shared_api.get(response.headers["Location"])).body == b"x"


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_name_that_is_none_is_refused(shared_api: Api, name: str) -> None:
    project = await shared_api.new_project()
    path = f"/api/projects/{project}/files/{quote(name, safe='')}"
    url = URL(shared_api.url + path, encoded=True)
    async with shared_api.session.put(url, data=b"x", headers=bearer()) as response:
        body = await response.json()
    assert (response.status, body.get("field")) == (400, "filename"), body


async def test_ten_mebibytes_are_stored_and_one_byte_more_is_refused(api: Api) -> None:
    project = await api.new_project()
    path = f"/api/projects/{project}/files/large.bin"
    content = bytes(range(256)) * (MAX_FILE_BYTES // 256)
    assert (await api.put(path, io.BytesIO(content))).status == 201
    assert (await api.get(path)).body == content
    announced = await api.put(path, io.BytesIO(content + b"x"))
    assert (announced.status, announced.code) == (413, "too_large")

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 1 << 20):
            yield content[start : start + (1 << 20)]
        yield b"x"

    streamed = await api.put(path, chunks())
    assert (streamed.status, streamed.code) == (413, "too_large")
    assert (await api.get(path)).body == content


async def test_an_empty_file_is_refused(api: Api) -> None:
    project = await api.new_project()
    reply = await api.put(f"/api/projects/{project}/files/a.csv", b"")
    assert (reply.status, reply.code) == (422, "empty_file")


async def test_a_project_holds_so_many_files_and_no_more(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_store_module, "MAX_FILES", 3)
    project = await api.new_project()

    async def upload(n: int) -> int:
        return (await api.put(f"/api/projects/{project}/files/{n}.txt", b"x")).status

    statuses = await asyncio.gather(*(upload(n) for n in range(4)))
    assert sorted(statuses) == [201, 201, 201, 422]
    kept = statuses.index(201)
    assert await upload(kept) == 200
    refused = await api.put(f"/api/projects/{project}/files/more.txt", b"x")
    assert (refused.status, refused.code) == (422, "too_many_files")


async def test_uploads_of_one_name_at_once_leave_one_file(api: Api) -> None:
    project = await api.new_project()
    path = f"/api/projects/{project}/files/a.txt"
    replies = await asyncio.gather(*(api.put(path, b"x" * (n + 1)) for n in range(4)))
    assert sorted(reply.status for reply in replies) == [200, 200, 200, 201]
    listed: list[Any] = (await api.get(f"/api/projects/{project}/files")).json["files"]
    assert [file["fileSize"] for file in listed] == [len((await api.get(path)).body)]


async def test_files_of_the_existing_front_end_are_listed_and_can_be_replaced(api: Api) -> None:
    project = await api.new_project()
    await api.pool.execute(
        "INSERT INTO project_files (project_id, file_name, file_type, storage_path) "
        "VALUES ($1, 'old.pdf', 'contract', 'bucket/old.pdf')",
        UUID(project),
    )
    path = f"/api/projects/{project}/files/old.pdf"
    listed = (await api.get(f"/api/projects/{project}/files")).json["files"]
    assert [(f["fileName"], f["fileType"], f["fileSize"]) for f in listed] == [
        ("old.pdf", "contract", None)
    ]
    assert (await api.get(path)).code == "file_not_found"
    assert (await api.put(path, b"%PDF")).status == 200
    assert (await api.get(path)).body == b"%PDF"


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {token(ANN)}"}
