"""What the API answers about rows that hold what no front end means."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from tests.support.api import ANN, Api
from tests.support.hostile_values import READABLE, UNREADABLE, named, spoil
from wastewise_jobs.db.pool import Connection

ALL = READABLE + UNREADABLE
TIMES = ("created_at", "started_at", "completed_at", "estimated_completion")
TEXTS = ("priority_reason", "current_step", "error_message", "error_code", "worker_id")


@pytest.fixture
def api(shared_api: Api) -> Api:
    return shared_api


async def spoiled(api: Api, *columns: tuple[str, str], user: UUID = ANN) -> str:
    job_id = await api.new_job(user=user)
    async with api.pool.acquire() as connection:
        for column, value in columns:
            await spoil(connection, UUID(job_id), column, value)
    return job_id


async def emptied(api: Api) -> None:
    await api.pool.execute("TRUNCATE analysis_jobs CASCADE")


@pytest.mark.parametrize(("column", "value"), ALL, ids=named(ALL))
async def test_a_job_is_shown_whatever_its_row_holds(api: Api, column: str, value: str) -> None:
    await emptied(api)
    job_id = await spoiled(api, (column, value))
    other = await api.new_job()
    listed = (await api.get("/api/jobs")).json["jobs"]
    assert {job["id"] for job in listed} == {job_id, other}
    reply = await api.get(f"/api/jobs/{job_id}")
    assert reply.status == 200
    assert reply.json["id"] == job_id


@pytest.mark.parametrize("value", ["infinity", "-infinity", "4713-01-01 00:00:00+00 BC"])
async def test_a_time_that_no_calendar_holds_is_null(api: Api, value: str) -> None:
    await emptied(api)
    job_id = await spoiled(api, *((name, f"'{value}'") for name in TIMES))
    for shown in (
        (await api.get(f"/api/jobs/{job_id}")).json,
        (await api.get("/api/jobs")).json["jobs"][0],
    ):
        timing = shown["timing"]
        names = ("createdAt", "startedAt", "completedAt", "estimatedCompletion")
        assert [timing[name] for name in names] == [None] * 4


async def test_a_list_of_enormous_texts_is_small_and_a_job_shows_more_of_them(api: Api) -> None:
    await emptied(api)
    first = await spoiled(api, *((name, "repeat('é', 10485760)") for name in TEXTS))
    log = "(SELECT jsonb_agg(jsonb_build_object('error_message', 'x')) FROM generate_series(1, 9))"
    async with api.pool.acquire() as connection:
        await spoil(connection, UUID(first), "retry_error_log", log)
        await copied(connection, UUID(first), 49)
    reply = await api.get("/api/jobs", params={"limit": 50})
    assert len(reply.json["jobs"]) == 50
    assert len(reply.body) < 50 * 10_000
    for job in reply.json["jobs"]:
        assert job["retryInfo"]["errors"] == []
        assert len(job["error"]["message"]) == len(job["workerId"]) == 500
        assert len(job["priorityReason"]) == len(job["progress"]["currentStep"]) == 500
    one = (await api.get(f"/api/jobs/{first}")).json
    assert len(one["error"]["message"]) == 10_000
    assert len(one["retryInfo"]["errors"]) == 9


async def copied(connection: Connection, job_id: UUID, times: int) -> None:
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            """
            INSERT INTO analysis_jobs
            SELECT r.*
            FROM analysis_jobs j
            CROSS JOIN generate_series(1, $2::integer) AS n
            CROSS JOIN LATERAL jsonb_populate_record(
                j, jsonb_build_object('id', md5(n::text)::uuid)
            ) AS r
            WHERE j.id = $1
            """,
            job_id,
            times,
        )


async def test_of_a_hundred_thousand_failed_attempts_the_last_hundred_are_shown(api: Api) -> None:
    log = "(SELECT jsonb_agg(jsonb_build_object('attempt', n)) FROM generate_series(1, 100000) n)"
    job_id = await spoiled(api, ("retry_error_log", log))
    errors = (await api.get(f"/api/jobs/{job_id}")).json["retryInfo"]["errors"]
    assert [error["attempt"] for error in errors] == list(range(99_901, 100_001))


async def test_pages_pass_rows_whose_time_no_calendar_holds(api: Api) -> None:
    await emptied(api)
    made = [
        *[await spoiled(api, ("created_at", "'infinity'")) for _ in range(5)],
        *[await spoiled(api, ("created_at", "'12000-01-01'")) for _ in range(3)],
        *[await api.new_job() for _ in range(3)],
        *[await spoiled(api, ("created_at", "'-infinity'")) for _ in range(4)],
    ]
    for admin in (False, True):
        found: list[str] = []
        cursor: dict[str, Any] = {}
        while True:
            page = (await api.get("/api/jobs", params={"limit": 2, **cursor}, admin=admin)).json
            found += [job["id"] for job in page["jobs"]]
            if not page["pagination"]["hasMore"]:
                break
            cursor = {"cursor": page["pagination"]["nextCursor"]}
        assert len(found) == len(made)
        assert set(found) == set(made)


@pytest.mark.parametrize("column", ["updated_at", "created_at", "started_at"])
async def test_an_event_stream_tells_of_such_a_job_to_its_end(api: Api, column: str) -> None:
    job_id = await spoiled(api, (column, "'infinity'"))
    stream = asyncio.create_task(api.get(f"/api/jobs/{job_id}/events"))
    waiting = asyncio.create_task(api.get(f"/api/jobs/{job_id}?wait=30"))
    await api.post(f"/api/jobs/{job_id}/cancel")
    reply = await asyncio.wait_for(stream, timeout=30)
    assert b'"status":"cancelled"' in reply.body
    assert (await asyncio.wait_for(waiting, timeout=30)).json["status"] == "cancelled"


async def test_looking_at_such_a_job_writes_nothing(api: Api) -> None:
    job_id = await spoiled(api, ("created_at", "'infinity'"), ("ai_cost_usd", "'NaN'"))
    before = await api.pool.fetchval("SELECT xmin FROM analysis_jobs WHERE id = $1", UUID(job_id))
    assert (await api.get(f"/api/jobs/{job_id}")).json["aiUsage"]["costUsd"] is None
    await api.get("/api/jobs")
    after = await api.pool.fetchval("SELECT xmin FROM analysis_jobs WHERE id = $1", UUID(job_id))
    assert after == before


@pytest.mark.parametrize(("column", "value"), [("queue", "repeat('q', 20971520)"), *UNREADABLE[:9]])
async def test_its_owner_can_cancel_it_and_send_it_round_again(
    api: Api, column: str, value: str
) -> None:
    waits, failed = await spoiled(api, (column, value)), await api.new_job()
    await api.pool.execute("UPDATE analysis_jobs SET status = 'failed' WHERE id = $1", UUID(failed))
    async with api.pool.acquire() as connection:
        await spoil(connection, UUID(failed), column, value)
    assert (await api.post(f"/api/jobs/{waits}/cancel")).status == 200
    assert (await api.post(f"/api/jobs/{failed}/retry")).status == 200
    assert all(len(ring) < 1000 for ring in api.bell.rings)


OF_PROJECTS = (
    "created_at = 'infinity'",
    "created_at = '4713-01-01 00:00:00+00 BC'",
    "created_at = '12000-01-01 00:00:00+00'",
    "updated_at = '12000-01-01 00:00:00+00'",
    "total_savings = 1e400",
    "total_savings = 'NaN'",
)


@pytest.mark.parametrize("value", OF_PROJECTS)
async def test_projects_are_shown_and_paged_whatever_their_rows_hold(api: Api, value: str) -> None:
    await api.pool.execute("TRUNCATE projects CASCADE")
    ids = [await api.new_project() for _ in range(4)]
    async with api.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            f"UPDATE projects SET {value} WHERE id = ANY ($1::uuid[])",  # noqa: S608
            ids[:2],
        )
    listed: list[str] = []
    cursor = ""
    while len(listed) < len(ids):
        page = (await api.get(f"/api/projects?limit=1{cursor}")).json
        listed += [project["id"] for project in page["projects"]]
        cursor = f"&cursor={page['pagination']['nextCursor']}"
    assert sorted(listed) == sorted(ids)
    for project_id in ids:
        assert (await api.get(f"/api/projects/{project_id}")).status == 200


async def test_a_file_is_listed_whenever_its_row_says_it_came(api: Api) -> None:
    project_id = await api.new_project()
    async with api.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "INSERT INTO project_files (project_id, file_name, file_type, uploaded_at) "
            "VALUES ($1, 'a.csv', 'csv', '12000-01-01 00:00:00+00')",
            project_id,
        )
    files = (await api.get(f"/api/projects/{project_id}/files")).json["files"]
    assert [file["uploadedAt"] for file in files] == [None]
