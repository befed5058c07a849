"""Corners of HTTP and of credentials that a client may reach without meaning harm."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.api import ADA, ANN, Api, token


@pytest.mark.parametrize("name", ["{x}.csv", "a{1}.csv", "100%.csv"])
async def test_a_file_name_may_hold_braces_and_percent_signs(api: Api, name: str) -> None:
    project = await api.new_project()
    path = f"/api/projects/{project}/files/" + "".join(f"%{byte:02X}" for byte in name.encode())
    assert (await api.request("PUT", path, data=b"Date,Tons\n")).json["fileName"] == name
    assert (await api.get(path)).body == b"Date,Tons\n"
    assert (await api.request("DELETE", path)).status == 204


@pytest.mark.parametrize("raw", ["/api/jobs/%FF", "/api/jobs?jobType=%FF", "/api/jobs/%ED%A0%80"])
async def test_bytes_that_are_no_text_are_refused(api: Api, raw: str) -> None:
    head, body = await spoken(api, f"GET {raw} HTTP/1.1", f"Authorization: Bearer {token()}")
    assert head.startswith("HTTP/1.1 400")
    assert '"code":"bad_request"' in body


@pytest.mark.parametrize("line", ["GET /nope", "PATCH /api/jobs", "HEAD /api/jobs"])
async def test_an_odd_expectation_is_refused_with_a_problem_everywhere(api: Api, line: str) -> None:
    head, body = await spoken(api, f"{line} HTTP/1.1", "Expect: miracles")
    assert head.startswith("HTTP/1.1 417")
    assert "application/problem+json" in head
    assert "X-Request-Id: " in head
    assert "text/plain" not in head
    assert line.startswith("HEAD") or '"code":"expectation_failed"' in body


async def test_no_body_is_asked_for_before_the_caller_is_known(api: Api) -> None:
    head, _ = await spoken(
        api, "POST /api/analyze HTTP/1.1", "Expect: 100-continue", "Content-Length: 20"
    )
    assert head.startswith("HTTP/1.1 401")


async def test_a_body_is_asked_for_once_it_is_wanted(api: Api) -> None:
    head, _ = await spoken(
        api,
        "POST /api/analyze HTTP/1.1",
        "Expect: 100-continue",
        "Content-Length: 18",
        f"Authorization: Bearer {token()}",
        body=b'{"jobType":"echo"}',
    )
    assert head.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201")


async def test_malformed_http_gets_a_request_id(api: Api) -> None:
    head, body = await spoken(api, "GET /livez HTTP/1.1", "Content-Length: x")
    assert head.partition("\r\n")[0].endswith("400 Bad Request")
    request_id = head.partition("X-Request-Id: ")[2].partition("\r\n")[0]
    assert len(request_id) == 32
    assert request_id in body


async def test_one_request_has_one_idempotency_key(api: Api) -> None:
    body = b'{"jobType":"echo"}'
    head, answer = await spoken(
        api,
        "POST /api/analyze HTTP/1.1",
        "Idempotency-Key: a",
        "Idempotency-Key: b",
        f"Content-Length: {len(body)}",
        f"Authorization: Bearer {token()}",
        body=body,
    )
    assert head.startswith("HTTP/1.1 400")
    assert '"field":"Idempotency-Key"' in answer


async def test_a_length_is_counted_in_characters(api: Api) -> None:
    reply = await api.analyze(jobType="x" * 201)
    assert reply.json["detail"] == "jobType: should have at most 200 characters"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"expiresAt": (datetime.now(UTC) - timedelta(days=1)).isoformat()}, "expiresAt"),
        ({"userId": "00000000-0000-0000-0000-000000000000"}, "userId"),
    ],
)
async def test_a_key_that_could_never_be_used_is_not_made(
    api: Api, change: dict[str, str], field: str
) -> None:
    body = {"userId": str(ANN), "scopes": ["read"]} | change
    reply = await api.post("/api/admin/keys", body, user=ADA, admin=True)
    assert (reply.status, reply.json["field"]) == (400, field)


async def spoken(api: Api, *lines: str, body: bytes = b"") -> tuple[str, str]:
    """What the server says to these lines; head (interim answers included) and body."""
    reader, writer = await asyncio.open_connection(api.host, api.port)
    try:
        request = [*lines, "Host: localhost", "Connection: close", "", ""]
        writer.write("\r\n".join(request).encode() + body)
        await writer.drain()
        answer = (await asyncio.wait_for(reader.read(), 10)).decode()
    finally:
        writer.close()
    if answer.startswith("HTTP/1.1 100"):
        interim, _, answer = answer.partition("\r\n\r\n")
        head, _, rest = answer.partition("\r\n\r\n")
        return f"{interim}\r\n\r\n{head}\r\n", rest
    head, _, rest = answer.partition("\r\n\r\n")
    return f"{head}\r\n", rest
