"""Whatever is sent is answered 4xx with a code and the field, and nothing crashes inside."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from tests.support.api import NOBODYS_ID, PROJECT, Api
from wastewise_jobs.wire.jobs import MAX_INPUT_BYTES

pytestmark = pytest.mark.usefixtures("no_crash")


@pytest.fixture
def api(shared_api: Api) -> Api:
    return shared_api


@pytest.fixture
def no_crash(capsys: pytest.CaptureFixture[str]) -> Any:
    yield
    text = "".join(capsys.readouterr())
    assert "Traceback" not in text
    assert "request_crashed" not in text


def deep(levels: int) -> str:
    """JSON that is so deep with the body's own braces, inputData, counted."""
    return "[" * (levels - 2) + "]" * (levels - 2)


# The text of a value in place of VALUE in {"jobType": "echo", "inputData": {"x": VALUE}}.
IN_INPUT = [
    (r'"\u0000"', "nul_character", "inputData.x"),
    (r'{"\u0000": 1}', "nul_character", "inputData.x"),
    (r'"\ud800"', "lone_surrogate", "inputData.x"),
    (r'["ok", "\udfff tail"]', "lone_surrogate", "inputData.x.1"),
    ("NaN", "not_finite", "inputData.x"),
    ("Infinity", "not_finite", "inputData.x"),
    ("-Infinity", "not_finite", "inputData.x"),
    ("1e100000", "number_too_large", "inputData.x"),
    ("-1e400", "number_too_large", "inputData.x"),
    ("9" * 5000, "number_too_large", "inputData.x"),
    ("18446744073709551616", "number_too_large", "inputData.x"),
    ("0." + "1" * 5000, "number_too_large", "inputData.x"),
    (deep(65), "too_deep", None),
    (deep(10_000), "too_deep", None),
    ('{"a": 1, "a": 2}', "duplicate_key", "inputData.x.a"),
    ("01", "malformed_json", None),
    ("'a'", "malformed_json", None),
    ("[1,]", "malformed_json", None),
    ("", "malformed_json", None),
    ('"unfinished', "malformed_json", None),
    ("\\ud83d", "malformed_json", None),
]


@pytest.mark.parametrize(("value", "code", "field"), IN_INPUT, ids=[v[:20] for v, *_ in IN_INPUT])
async def test_a_hostile_input_value_is_named(
    api: Api, value: str, code: str, field: str | None
) -> None:
    body = f'{{"jobType": "echo", "inputData": {{"x": {value}}}}}'
    before = await api.pool.fetchval("SELECT count(*) FROM analysis_jobs")
    reply = await send(api, body.encode())
    assert (reply.status, reply.code, reply.json.get("field")) == (400, code, field)
    assert await api.pool.fetchval("SELECT count(*) FROM analysis_jobs") == before


async def test_the_deepest_and_largest_that_are_allowed_are_stored(api: Api) -> None:
    value = f'{{"x": {deep(63)}, "n": 18446744073709551615, "e": 1e308, "t": "\\ud83d\\ude00"}}'
    reply = await send(api, f'{{"jobType": "echo", "inputData": {value}}}'.encode())
    assert reply.status == 201, reply.body
    stored = await api.pool.fetchval(
        "SELECT input_data FROM analysis_jobs WHERE id = $1", UUID(reply.json["jobId"])
    )
    assert stored["t"] == "\N{GRINNING FACE}"


WRONG: dict[str, list[Any]] = {
    "jobType": [None, 1, True, [], {}, "", "x" * 201, "a\nb", "\x07"],
    "projectId": [1, True, "", "x", NOBODYS_ID[:-1], "{" + NOBODYS_ID + "}", [NOBODYS_ID], {}],
    "inputData": [None, 1, "x", [], [{}], True],
    "priority": [0, 11, -1, 1.5, 5.0, "5", True, [5], 2**40],
    "idempotencyKey": [1, "", "x" * 256, "a\nb", " a", True, []],
    "maxRetries": [-1, 101, 1.0, "3", True, 2**63],
    "timeoutSeconds": [0, -1, 604_801, "5", True, [], 1e300],
    "runAt": [
        1,
        True,
        "",
        "tomorrow",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00+25:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "3000-01-01T00:00:00Z",
        "2026-01-01T00:00:00Zjunk",
        "\N{FULLWIDTH DIGIT TWO}026-01-01T00:00:00Z",
    ],
}
PROJECT_WRONG: dict[str, list[Any]] = {
    "propertyName": [None, 1, "", "x" * 201, "a\u0007", "a\u2028b", " a"],
    "units": [9, 2001, "200", 200.0, True, None, 2**70],
    "city": [None, 5, "", "x" * 101],
    "state": [None, 5, "", "x" * 51],
    "propertyType": [1, "Castle", "", []],
    "equipmentType": [None, "PRESS", 1],
    "containers": [0, 1001, 1.0, "3"],
    "containerYards": [0, -1, 101, "6"],
    "pickupsPerWeek": [0, 51, "2", True],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in WRONG.items() for value in values],
)
async def test_a_wrong_value_in_a_request_for_a_job_is_named(
    api: Api, field: str, value: object
) -> None:
    body = {"jobType": "echo"} | {field: value}
    reply = await send(api, json.dumps(body).encode())
    code = "number_too_large" if value == 2**70 else "invalid_value"
    assert (reply.status, reply.code, reply.json["field"]) == (400, code, field)


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in PROJECT_WRONG.items() for value in values],
)
async def test_a_wrong_value_in_a_project_is_named(api: Api, field: str, value: object) -> None:
    body = PROJECT | {field: value}
    reply = await send(api, json.dumps(body).encode(), path="/api/projects")
    code = "number_too_large" if value == 2**70 else "invalid_value"
    assert (reply.status, reply.code, reply.json["field"]) == (400, code, field)


@pytest.mark.parametrize("name", ["propertyName", "city", "state", "propertyType"])
@pytest.mark.parametrize(
    ("text", "code"), [(r"a\u0000b", "nul_character"), (r"\ud800", "lone_surrogate")]
)
async def test_unstorable_text_in_any_field_is_named(
    api: Api, name: str, text: str, code: str
) -> None:
    body = json.dumps(PROJECT | {name: "HERE"}).replace("HERE", text)
    reply = await send(api, body.encode(), path="/api/projects")
    assert (reply.status, reply.code, reply.json["field"]) == (400, code, name)


async def test_all_that_is_wrong_is_named_at_once(api: Api) -> None:
    reply = await send(api, b'{"job_type": "echo", "priority": "5", "bogus": 1}')
    assert reply.json["errors"] == [
        {"field": "jobType", "problem": "is required"},
        {"field": "priority", "problem": "should be a valid integer"},
        {"field": "job_type", "problem": "is not a known field"},
        {"field": "bogus", "problem": "is not a known field"},
    ]
    assert (reply.code, reply.json["field"]) == ("missing_field", "jobType")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed_json"),
        (b"null", "invalid_value"),
        (b"[]", "invalid_value"),
        (b'"text"', "invalid_value"),
        (b"\xff\xfe{\x00}\x00", "malformed_json"),
        (b'{"jobType": "\xe9"}', "malformed_json"),
        (b"\xef\xbb\xbf{}", "malformed_json"),
        (b'{"jobType": "echo"} {}', "malformed_json"),
        (b'{"jobType": "echo", "jobType": "echo"}', "duplicate_key"),
        (b'{"jobType": "echo", "extra": 1}', "unknown_field"),
        (b"<job/>", "malformed_json"),
    ],
)
async def test_a_body_that_is_no_request_is_refused(api: Api, body: bytes, code: str) -> None:
    reply = await send(api, body)
    assert (reply.status, reply.code) == (400, code)


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
async def test_other_media_types_are_refused(api: Api, media_type: str) -> None:
    reply = await api.post("/api/analyze", data=b"{}", headers={"Content-Type": media_type})
    assert (reply.status, reply.code) == (415, "unsupported_media_type")


async def test_compressed_bodies_and_other_charsets_are_refused(api: Api) -> None:
    zipped = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    utf16 = {"Content-Type": "application/json; charset=utf-16"}
    assert (await api.post("/api/analyze", data=b"\x1f\x8b", headers=zipped)).status == 415
    assert (await api.post("/api/analyze", data=b"{}", headers=utf16)).status == 415


@pytest.mark.parametrize("excess", [0, 1])
async def test_the_input_may_have_256_kib_and_no_byte_more(api: Api, excess: int) -> None:
    text = "x" * (MAX_INPUT_BYTES - len('{"t":""}') + excess)
    reply = await send(api, json.dumps({"jobType": "echo", "inputData": {"t": text}}).encode())
    if excess:
        assert (reply.status, reply.code, reply.json["field"]) == (413, "too_large", "inputData")
    else:
        assert reply.status == 201


async def test_a_huge_body_is_refused_before_it_is_parsed(api: Api) -> None:
    reply = await send(api, b" " * (600 * 1024))
    assert (reply.status, reply.code) == (413, "too_large")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 65_536

    chunked = await api.post(
        "/api/analyze", data=chunks(), headers={"Content-Type": "application/json"}
    )
    assert (chunked.status, chunked.code) == (413, "too_large")


BAD_QUERIES = [
    ("/api/jobs?limit=0", "limit", "invalid_value"),
    ("/api/jobs?limit=201", "limit", "invalid_value"),
    ("/api/jobs?limit=-1", "limit", "invalid_value"),
    ("/api/jobs?limit=1e9", "limit", "invalid_value"),
    ("/api/jobs?limit=" + "9" * 5000, "limit", "invalid_value"),
    ("/api/jobs?limit=", "limit", "invalid_value"),
    ("/api/jobs?limit=5&limit=6", "limit", "invalid_value"),
    ("/api/jobs?status=done", "status.0", "invalid_value"),
    ("/api/jobs?" + "&".join(["status=pending"] * 6), "status", "invalid_value"),
    ("/api/jobs?projectId=x", "projectId", "invalid_value"),
    ("/api/jobs?jobType=%00", "jobType", "nul_character"),
    ("/api/jobs?jobType=" + "x" * 201, "jobType", "invalid_value"),
    ("/api/jobs?bogus=1", "bogus", "unknown_field"),
    ("/api/jobs?project_id=" + NOBODYS_ID, "project_id", "unknown_field"),
    ("/api/jobs?cursor=abc", "cursor", "invalid_cursor"),
    ("/api/jobs?cursor=", "cursor", "invalid_cursor"),
    ("/api/jobs?cursor=" + "A" * 300, "cursor", "invalid_cursor"),
    ("/api/jobs?cursor=%C3%A4", "cursor", "invalid_cursor"),
    ("/api/projects?cursor=AAAA", "cursor", "invalid_cursor"),
    ("/api/jobs/not-a-uuid", "id", "invalid_value"),
    ("/api/jobs/%00", "id", "invalid_value"),
    (f"/api/jobs/{NOBODYS_ID}?wait=61", "wait", "invalid_value"),
    (f"/api/jobs/{NOBODYS_ID}?wait=-1", "wait", "invalid_value"),
    (f"/api/jobs/{NOBODYS_ID}?wait=nan", "wait", "invalid_value"),
    (f"/api/jobs/{NOBODYS_ID}?wait=inf", "wait", "invalid_value"),
    (f"/api/jobs/{NOBODYS_ID}?wait=x", "wait", "invalid_value"),
    (f"/api/jobs/{NOBODYS_ID}/rows?limit=999", "limit", "invalid_value"),
]


@pytest.mark.parametrize(
    ("path", "field", "code"), BAD_QUERIES, ids=[q[0][:50] for q in BAD_QUERIES]
)
async def test_a_bad_parameter_is_named(api: Api, path: str, field: str, code: str) -> None:
    reply = await api.get(path)
    expected = "nul_character" if path.endswith("%00") else code
    assert (reply.status, reply.code, reply.json["field"]) == (400, expected, field)


async def test_a_cursor_that_was_changed_anywhere_is_refused(api: Api) -> None:
    await api.new_job()
    await api.new_job()
    cursor = (await api.get("/api/jobs?limit=1")).json["pagination"]["nextCursor"]
    for position in range(len(cursor)):
        changed = cursor[:position] + ("A" if cursor[position] != "A" else "B")
        reply = await api.get("/api/jobs", params={"cursor": changed + cursor[position + 1 :]})
        assert reply.code == "invalid_cursor"
    assert (await api.get("/api/jobs", params={"cursor": cursor})).status == 200


async def test_an_upper_case_id_is_the_same_job(api: Api) -> None:
    job_id = await api.new_job()
    assert (await api.get(f"/api/jobs/{job_id.upper()}")).json["id"] == job_id


async def send(api: Api, body: bytes, *, path: str = "/api/analyze") -> Any:
    return await api.post(path, data=body, headers={"Content-Type": "application/json"})
