"""The client against the service itself, composed as in production."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.waiting import eventually
from wastewise_jobs import JobContext, Jobs, PermanentError
from wastewise_jobs.analysis.sample import sample_files
from wastewise_jobs.cli.credentials import make_token
from wastewise_jobs.client import Client, ConflictError, NotAuthorizedError, NotFoundError
from wastewise_jobs.service.parts import Parts
from wastewise_jobs.service.process import run_service
from wastewise_jobs.service.shutdown import Stop
from wastewise_jobs.settings import Settings
from wastewise_jobs.web.http.server import Address
from wastewise_jobs.wire.projects import ProjectRequest

SECRET = "a secret that is long enough for HS256"
USER, OTHER, ADMIN = uuid4(), uuid4(), uuid4()
PROJECT = ProjectRequest(
    property_name="Oak Park",
    units=232,
    city="Austin",
    state="TX",
    property_type="Garden-Style",
    equipment_type="COMPACTOR",
)


async def wait_until_cancelled(job: JobContext) -> None:
    job.progress(10, "Waiting")
    await asyncio.Event().wait()


async def fail_at_once(job: JobContext) -> None:
    raise PermanentError("NO_GOOD", f"job {job.id} is no good")


def token(user: UUID, *, admin: bool = False) -> str:
    return make_token(
        SECRET,
        user=user,
        lifetime_seconds=600,
        audience="authenticated",
        issuer=None,
        admin=admin,
    )


@pytest.fixture
async def url(db: str) -> AsyncIterator[str]:
    settings = Settings(
        _env_file=None,
        database_url=db,
        jwt_secret=SECRET,
        port=0,
        lease_seconds=3,
        heartbeat_seconds=1,
        shutdown_grace_seconds=0,
    )
    jobs = Jobs()
    for handler in (wait_until_cancelled, fail_at_once):
        jobs.handler(handler.__name__)(handler)
    up: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    stop = Stop(30)
    service = asyncio.create_task(
        run_service(
            settings,
            Parts(api=True, worker=True, app_jobs=jobs),
            stop=stop,
            on_up=lambda address: up.set_result(address) if address else None,
        )
    )
    waiting: list[asyncio.Future[Any]] = [service, up]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if service.done():
        await service
    yield up.result().url
    stop.asked.set()
    await asyncio.wait_for(service, 20)


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url, token(USER)) as client:
        yield client


async def test_an_analysis_from_files_to_reports(client: Client) -> None:
    project = await client.create_project(PROJECT)
    for file in sample_files():
        await client.upload_file(project.id, file.name, file.content)
    files = await client.files(project.id)
    assert {file.file_type for file in files} == {"invoice", "haul_log"}
    submitted = await client.submit("complete_analysis", project_id=project.id)
    seen = [job async for job in client.events(submitted.job_id)]
    percents = [job.progress.percent for job in seen]
    assert seen[-1].status == "completed"
    assert percents == sorted(percents)
    assert (await client.project(project.id)).total_savings == pytest.approx(
        seen[-1].result["summary"]["annualSavings"], abs=0.01
    )
    assert (await client.report(submitted.job_id, "html")).startswith(b"<!doctype html>")
    assert (await client.report(submitted.job_id, "xlsx")).startswith(b"PK")
    again = [job async for job in client.events(submitted.job_id)]
    assert [job.status for job in again] == ["completed"]


async def test_one_key_makes_one_job(client: Client) -> None:
    first = await client.submit("fail_at_once", idempotency_key="k")
    second = await client.submit("fail_at_once", idempotency_key="k")
    assert first.job_id == second.job_id
    with pytest.raises(ConflictError, match="idempotency"):
        await client.submit("wait_until_cancelled", idempotency_key="k")
    assert (await client.submit("fail_at_once")).job_id != first.job_id


async def test_a_running_job_is_cancelled(client: Client) -> None:
    submitted = await client.submit("wait_until_cancelled")
    job = await eventually(lambda: _processing(client, submitted.job_id))
    assert job
    await client.cancel(submitted.job_id)
    assert (await client.finished_job(submitted.job_id)).status == "cancelled"
    with pytest.raises(ConflictError):
        await client.cancel(submitted.job_id)


async def _processing(client: Client, job_id: UUID) -> bool:
    return (await client.job(job_id)).status == "processing"


async def test_a_failed_job_goes_round_again(client: Client) -> None:
    submitted = await client.submit("fail_at_once", max_retries=3)
    failed = await client.finished_job(submitted.job_id)
    assert failed.error is not None
    assert (failed.status, failed.error.code) == ("failed", "NO_GOOD")
    assert (await client.retry(submitted.job_id)).status == "pending"
    assert (await client.finished_job(submitted.job_id)).status == "failed"


async def test_jobs_are_listed_by_pages_and_by_owner(url: str, client: Client) -> None:
    wanted = {(await client.submit("fail_at_once")).job_id for _ in range(5)}
    first = await client.jobs(limit=3)
    rest = await client.jobs(limit=3, cursor=first.pagination.next_cursor)
    assert {job.id for job in (*first.jobs, *rest.jobs)} == wanted
    assert not rest.pagination.has_more
    await asyncio.gather(*(client.finished_job(job_id) for job_id in wanted))
    assert len((await client.jobs(statuses=["failed", "pending"])).jobs) == 5
    assert (await client.jobs(statuses=["completed"])).jobs == []
    async with Client(url, token(OTHER)) as other:
        assert (await other.jobs()).jobs == []
        with pytest.raises(NotFoundError):
            await other.job(wanted.pop())
    async with Client(url, token(ADMIN, admin=True)) as admin:
        assert len((await admin.jobs(user_id=USER)).jobs) == 5


async def test_nobody_gets_in_without_a_token(url: str) -> None:
    for bad in (None, "nonsense", token(USER)[:-4] + "AAAA"):
        async with Client(url, bad) as stranger:
            with pytest.raises(NotAuthorizedError):
                await stranger.jobs()


async def test_readiness_says_what_works(client: Client) -> None:
    async def ready() -> bool:
        return (await client.readiness()).checks.get("listener") == "ok"

    await eventually(ready)
    assert (await client.readiness()).status == "ready"
