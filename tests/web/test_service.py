"""What is the same for every request: ids, headers, errors, limits, health."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.support.api import ANN, BOB, NOBODYS_ID, Api, serving, token
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Pool, create_pool
from wastewise_jobs.errors import JobRefusedError
from wastewise_jobs.jobs.model import NewJob
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.projects.store import ProjectStore
from wastewise_jobs.web.api import health
from wastewise_jobs.web.http import middleware

ORIGIN = "https://app.example.com"


async def test_a_plain_request_id_is_kept_and_any_other_replaced(shared_api: Api) -> None:
    for good in ("abc-123", "A" * 64, "a.b_c"):
        reply = await shared_api.get("/api/jobs/x", headers={"X-Request-Id": good})
        assert reply.headers["X-Request-Id"] == reply.json["requestId"] == good
    for bad in ("a b", "A" * 65, "<script>", "ä", ""):
        reply = await shared_api.get("/livez", headers={"X-Request-Id": bad})
        assert re.fullmatch(r"[0-9a-f]{32}", reply.headers["X-Request-Id"])


async def test_every_answer_carries_the_security_headers(shared_api: Api) -> None:
    for path, user in [
        ("/livez", None),
        ("/docs", None),
        ("/docs/init.js", None),
        ("/openapi.json", None),
        ("/nothing", None),
        ("/api/jobs", None),
        ("/api/jobs", ANN),
        (f"/api/jobs/{NOBODYS_ID}", ANN),
    ]:
        headers = (await shared_api.get(path, user=user)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Permissions-Policy"] == "camera=(), microphone=(), geolocation=()"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Server"] == "wastewise-jobs"
        assert "Strict-Transport-Security" not in headers
        assert "Access-Control-Allow-Origin" not in headers
        assert "Set-Cookie" not in headers


async def test_behind_tls_browsers_are_told_to_stay_there(web_pool: Pool) -> None:
    async with serving(web_pool, behind_tls=True) as api:
        reply = await api.get("/livez", user=None)
    assert reply.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_without_a_list_no_other_origin_gets_in(shared_api: Api) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    preflight = await shared_api.request("OPTIONS", "/api/analyze", user=None, headers=asked)
    simple = await shared_api.get("/api/jobs", headers={"Origin": ORIGIN})
    assert (preflight.status, simple.status) == (204, 200)
    for reply in (preflight, simple):
        assert not [name for name in reply.headers if name.startswith("Access-Control")]


async def test_a_listed_origin_gets_in_and_its_neighbour_does_not(web_pool: Pool) -> None:
    async with serving(web_pool, cors_allowed_origins=(ORIGIN,)) as api:
        asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
        preflight = await api.request("OPTIONS", "/api/analyze", user=None, headers=asked)
        good = await api.get("/api/jobs", headers={"Origin": ORIGIN})
        refused = await api.get("/api/jobs", user=None, headers={"Origin": ORIGIN})
        bad = await api.get("/api/jobs", headers={"Origin": ORIGIN + ".evil.example"})
        null = await api.get("/api/jobs", headers={"Origin": "null"})

    assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert preflight.headers["Access-Control-Allow-Methods"] == "OPTIONS, POST"
    assert "Idempotency-Key" in preflight.headers["Access-Control-Allow-Headers"]
    for reply in (good, refused):
        assert reply.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Location" in reply.headers["Access-Control-Expose-Headers"]
    for reply in (bad, null):
        assert "Access-Control-Allow-Origin" not in reply.headers
    for reply in (preflight, good, bad):
        assert "Origin" in reply.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in reply.headers


async def test_options_and_head_are_answered_sanely(shared_api: Api) -> None:
    options = await shared_api.request("OPTIONS", "/api/jobs", user=None)
    assert (options.status, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    nowhere = await shared_api.request("OPTIONS", "/nothing", user=None)
    assert (nowhere.status, nowhere.code) == (404, "not_found")

    head = await shared_api.request("HEAD", "/api/jobs")
    get = await shared_api.get("/api/jobs")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get.body))
    assert (await shared_api.request("HEAD", "/api/jobs", user=None)).status == 401
    assert (await shared_api.request("HEAD", f"/api/jobs/{NOBODYS_ID}/events")).status == 405


async def test_unknown_paths_and_methods_are_problems_too(shared_api: Api) -> None:
    nothing = await shared_api.get("/api/nothing?secret=1", user=None)
    assert nothing.json == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "there is nothing here",
        "code": "not_found",
        "requestId": nothing.headers["X-Request-Id"],
        "instance": "/api/nothing",
    }
    assert nothing.headers["Content-Type"].startswith("application/problem+json")
    wrong = await shared_api.request("PATCH", "/api/jobs")
    assert (wrong.status, wrong.code, wrong.headers["Allow"]) == (
        405,
        "method_not_allowed",
        "GET, HEAD",
    )
    expects = await shared_api.post("/api/analyze", {}, headers={"Expect": "miracles"})
    assert (expects.status, expects.code) == (417, "expectation_failed")
    continues = await shared_api.analyze(headers={"Expect": "100-Continue"})
    assert continues.status == 201


async def test_creations_are_limited_for_each_user(web_pool: Pool) -> None:
    async with serving(web_pool, rate_limit_per_minute=3) as api:
        assert (await api.analyze(bogus=1)).status == 400
        replies = [await api.analyze() for _ in range(4)]
        other = await api.analyze(user=BOB)
        looking = await api.get("/api/jobs")

    assert [reply.status for reply in replies] == [201, 201, 201, 429]
    assert [r.headers["X-RateLimit-Remaining"] for r in replies] == ["2", "1", "0", "0"]
    assert {r.headers["X-RateLimit-Limit"] for r in replies} == {"3"}
    assert [int(r.headers["X-RateLimit-Reset"]) for r in replies] == [20, 40, 60, 60]
    refused = replies[-1]
    assert refused.code == "rate_limited"
    assert 19 <= int(refused.headers["Retry-After"]) <= 20
    assert other.status == 201
    assert looking.status == 200
    assert "X-RateLimit-Limit" not in looking.headers


async def test_a_request_that_creates_nothing_is_not_counted(web_pool: Pool) -> None:
    async with serving(web_pool, rate_limit_per_minute=2) as api:
        key = {"Idempotency-Key": "once"}
        repeats = [await api.analyze(headers=key) for _ in range(5)]
        unknown = [await api.analyze(jobType="no_such_type") for _ in range(3)]
        second, third = await api.analyze(), await api.analyze()
    assert [reply.status for reply in repeats] == [201, 200, 200, 200, 200]
    assert {reply.headers["X-RateLimit-Remaining"] for reply in repeats} == {"1"}
    assert {reply.status for reply in unknown} == {400}
    assert (second.status, third.status) == (201, 429)


async def test_a_crash_inside_is_logged_and_told_without_details(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def crash(*_: Any, **__: Any) -> None:
        raise RuntimeError("the secret is 12345")

    monkeypatch.setattr(JobStore, "get", crash)
    headers = {"X-Request-Id": "find-me"}
    url = f"{api.url}/api/jobs/{NOBODYS_ID}"
    async with api.session.get(url, headers=headers | bearer()) as response:
        body = await response.json()
    assert response.status == 500
    assert body == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "something went wrong here; the request id names it",
        "code": "internal_error",
        "requestId": "find-me",
        "instance": f"/api/jobs/{NOBODYS_ID}",
    }
    logged = "".join(capsys.readouterr())
    assert "request_crashed" in logged
    assert "find-me" in logged


PASSING = [
    asyncpg.ConnectionDoesNotExistError("gone"),
    asyncpg.InterfaceError("pool is closing"),
    asyncpg.ReadOnlySQLTransactionError("read only"),
    asyncpg.AdminShutdownError("57P01"),
    asyncpg.CannotConnectNowError("57P03"),
    asyncpg.TooManyConnectionsError("53300"),
    asyncpg.DiskFullError("53100"),
    asyncpg.QueryCanceledError("57014"),
    asyncpg.DeadlockDetectedError("40P01"),
    ConnectionRefusedError(111, "refused"),
    TimeoutError(),
]


@pytest.mark.parametrize("failure", PASSING, ids=lambda failure: type(failure).__name__)
async def test_a_database_that_is_away_is_a_503(
    shared_api: Api, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise failure

    async def enqueue(*_: Any, **__: Any) -> list[JobRefusedError]:
        raise failure

    monkeypatch.setattr(JobStore, "get", fail)
    monkeypatch.setattr(JobStore, "enqueue", enqueue)
    monkeypatch.setattr(ProjectStore, "create", fail)
    for reply in (
        await shared_api.get(f"/api/jobs/{NOBODYS_ID}"),
        await shared_api.analyze(),
    ):
        assert (reply.status, reply.code) == (503, "database_unavailable")
        assert reply.headers["Retry-After"] == "5"


async def test_an_outage_is_two_lines_however_many_requests_meet_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(middleware, "_QUIET_SECONDS", 0.0)
    with capture_logs() as logs:
        with monkeypatch.context() as away:
            away.setattr(JobStore, "get", fail)
            refused = [await api.get(f"/api/jobs/{NOBODYS_ID}") for _ in range(20)]
        assert (await api.get(f"/api/jobs/{await api.new_job()}")).status == 200
    assert {reply.status for reply in refused} == {503}
    told = [line["event"] for line in logs if line["log_level"] != "debug"]
    about_it = [event for event in told if "database" in event]
    assert about_it == ["request_without_database", "database_came_back"]


async def test_the_real_database_goes_away_and_comes_back(db: str) -> None:
    async with create_pool(db, max_size=2) as pool, serving(pool) as api:
        assert (await api.analyze()).status == 201
        await pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        statuses = {(await api.analyze()).status for _ in range(6)}
        assert statuses <= {201, 503}
        assert (await api.analyze()).status == 201

        await pool.execute(f"ALTER DATABASE {quoted(db)} SET default_transaction_read_only = on")
        await pool.expire_connections()
        await pool.execute("SELECT 1")

        async def refuses() -> bool:
            reply = await api.analyze()
            return (reply.status, reply.code) == (503, "database_unavailable")

        await eventually(refuses)

        async def not_ready() -> bool:
            reply = await api.get("/readyz", user=None)
            return reply.status == 503 and reply.json["checks"]["database"] == "read_only"

        await eventually(not_ready)


def quoted(dsn: str) -> str:
    return '"' + urlsplit(dsn).path.lstrip("/") + '"'


async def test_the_process_says_that_it_lives_and_can_work(api: Api) -> None:
    live = await api.get("/livez", user=None)
    ready = await api.get("/readyz", user=None)
    assert (live.status, live.json) == (200, {"status": "alive", "checks": {}})
    assert (ready.status, ready.json) == (
        200,
        {"status": "ready", "checks": {"database": "ok", "schema": "ok"}},
    )


async def test_a_late_loop_and_a_dead_listener_are_named(web_pool: Pool) -> None:
    late: list[str] = []
    async with serving(web_pool, late_loops=lambda: late, listener=lambda: "polling") as api:
        ready = await api.get("/readyz", user=None)
        late.append("doorbell")
        live = await api.get("/livez", user=None)
    assert ready.status == 200
    assert ready.json["checks"]["listener"] == "polling"
    assert (live.status, live.json) == (
        503,
        {"status": "late", "checks": {"doorbell": "late"}},
    )


async def test_a_schema_of_another_release_is_not_ready(api: Api) -> None:
    await api.pool.execute("UPDATE schema_info SET schema_version = 0")

    async def mismatch() -> bool:
        reply = await api.get("/readyz", user=None)
        checks = {"database": "ok", "schema": "mismatch"}
        return (reply.status, reply.json) == (503, {"status": "not_ready", "checks": checks})

    await eventually(mismatch)


async def test_health_asks_the_database_once_a_second_at_most(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    async def counting(connection: Any) -> None:
        taken.append(connection)

    monkeypatch.setattr(health, "check_schema", counting)
    replies: Sequence[Any] = await asyncio.gather(
        *(api.get("/readyz", user=None) for _ in range(30))
    )
    assert {reply.status for reply in replies} == {200}
    assert 1 <= len(taken) <= 2


async def test_values_that_slip_through_are_the_clients_to_change(
    shared_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: JobStore, jobs: Sequence[NewJob], **_: Any) -> Any:
        del self, jobs
        raise asyncpg.CharacterNotInRepertoireError("22021")

    monkeypatch.setattr(JobStore, "enqueue", refuse)
    reply = await shared_api.analyze()
    assert (reply.status, reply.code) == (400, "invalid_value")


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {token(ANN)}"}
