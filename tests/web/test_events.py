"""Server-sent events: every change once, resumable, one query for all watchers."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from tests.support.api import ANN, BOB, SECRET, Api, serving, token
from tests.support.factories import claim
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.model import ClaimedJob, JobView, Progress
from wastewise_jobs.jobs.outcome import Completed
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.web.access.auth import Authenticator, KeyVerifier
from wastewise_jobs.web.access.keys import KeyStore
from wastewise_jobs.web.access.tokens import SharedSecret, TokenVerifier
from wastewise_jobs.web.watch import INTERVAL_SECONDS


@dataclass(frozen=True)
class Event:
    id: str
    name: str
    data: dict[str, Any]


class Stream:
    """Reads one event after the other."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Event | None:
        fields: dict[str, str] = {}
        async with asyncio.timeout(5):
            async for raw in self.response.content:
                line = raw.decode().rstrip("\r\n")
                if line.startswith(":"):
                    continue
                if not line and fields:
                    return Event(fields["id"], fields["event"], json.loads(fields["data"]))
                name, _, value = line.partition(": ")
                fields[name] = value
        return None


@asynccontextmanager
async def stream(
    api: Api, job_id: str, *, user: UUID = ANN, last: str | None = None
) -> AsyncIterator[Stream]:
    headers = {"Authorization": f"Bearer {token(user)}"}
    if last is not None:
        headers["Last-Event-ID"] = last
    async with api.session.get(f"{api.url}/api/jobs/{job_id}/events", headers=headers) as response:
        yield Stream(response)


async def running(api: Api) -> ClaimedJob:
    await api.new_job()
    (job,) = await claim(api.jobs, job_types=("echo",))
    return job


async def step(api: Api, job: ClaimedJob, percent: int) -> None:
    await api.jobs.progress([(job, Progress(percent, f"step {percent}"))])


async def test_a_stream_tells_every_change_and_ends_with_the_job(api: Api) -> None:
    job_id = await api.new_job()
    async with stream(api, job_id) as events:
        assert events.response.status == 200
        assert events.response.headers["Content-Type"] == "text/event-stream"
        first = await events.next()
        (job,) = await claim(api.jobs, job_types=("echo",))
        second = await events.next()
        await step(api, job, 30)
        third = await events.next()
        await step(api, job, 60)
        fourth = await events.next()
        await api.jobs.complete([(job, Completed('{"saved": 5}'))])
        last = await events.next()
        end = await events.next()

    seen = [event for event in (first, second, third, fourth, last) if event is not None]
    assert [(e.name, e.data["status"], e.data["progress"]["percent"]) for e in seen] == [
        ("status", "pending", 0),
        ("status", "processing", 0),
        ("progress", "processing", 30),
        ("progress", "processing", 60),
        ("status", "completed", 100),
    ]
    assert end is None
    assert len({event.id for event in seen}) == 5
    assert seen[-1].data == (await api.get(f"/api/jobs/{job_id}")).json
    assert seen[-1].data["result"] == {"saved": 5}


async def test_a_stream_that_comes_back_gets_only_what_is_new(api: Api) -> None:
    job = await running(api)
    async with stream(api, str(job.id)) as events:
        first = await events.next()
        await step(api, job, 10)
        seen = await events.next()
    assert first is not None
    assert seen is not None

    async with stream(api, str(job.id), last=seen.id) as events:
        await step(api, job, 20)
        newer = await events.next()
    async with stream(api, str(job.id), last=first.id) as events:
        missed = await events.next()

    assert newer is not None
    assert (newer.name, newer.data["progress"]["percent"]) == ("progress", 20)
    assert missed is not None
    assert missed.data["progress"]["percent"] == 20
    assert missed.id == newer.id


async def test_a_browser_that_has_seen_the_end_is_told_to_stay_away(api: Api) -> None:
    job_id = await api.new_job()
    await api.delete(f"/api/jobs/{job_id}")
    async with stream(api, job_id) as events:
        last = await events.next()
        assert await events.next() is None
    assert last is not None
    assert last.data["status"] == "cancelled"
    async with stream(api, job_id, last=last.id) as events:
        assert events.response.status == 204
    async with stream(api, job_id, last="nonsense") as events:
        assert events.response.status == 200


async def test_any_number_of_watchers_costs_one_query_per_interval(api: Api) -> None:
    job = await running(api)
    assert api.watcher.queries == 0
    async with asyncio.TaskGroup() as group:
        ready = asyncio.Barrier(21)

        async def watch() -> int:
            async with stream(api, str(job.id), user=ANN) as events:
                await events.next()
                await ready.wait()
                event = await events.next()
                assert event is not None
                return int(event.data["progress"]["percent"])

        tasks = [group.create_task(watch()) for _ in range(20)]
        await ready.wait()
        before, began = api.watcher.queries, time.monotonic()
        await eventually(lambda: api.watcher.queries >= before + 5)
        looks = api.watcher.queries - before
        intervals = (time.monotonic() - began) / INTERVAL_SECONDS
        await step(api, job, 70)
    assert {task.result() for task in tasks} == {70}
    assert looks <= intervals + 1

    await eventually(lambda: not api.watcher._watches)
    await eventually(lambda: api.watcher._looking is None)
    silent = api.watcher.queries
    assert "watch jobs" not in {task.get_name() for task in asyncio.all_tasks()}
    assert (await api.get("/livez", user=None)).status == 200
    assert api.watcher.queries == silent


async def test_streams_are_counted_for_each_user(api: Api) -> None:
    mine, theirs = await api.new_job(), await api.new_job(user=BOB)
    async with asyncio.TaskGroup() as group:
        enough = asyncio.Event()

        async def hold() -> None:
            async with stream(api, mine) as events:
                assert events.response.status == 200
                await enough.wait()

        for _ in range(20):
            group.create_task(hold())
        await eventually(lambda: sum(len(w) for w in api.watcher._watches.values()) == 20)
        refused = await api.get(f"/api/jobs/{mine}/events")
        assert (refused.status, refused.code) == (429, "too_many_streams")
        async with stream(api, theirs, user=BOB) as events:
            assert events.response.status == 200
        enough.set()

    async def is_free() -> bool:
        async with stream(api, mine) as events:
            return events.response.status == 200

    await eventually(is_free)


async def test_streams_end_promptly_when_the_server_stops(web_pool: Pool) -> None:
    async with serving(web_pool, stop_seconds=20.0) as api:
        job_id = await api.new_job()
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()

        async def watch() -> Event | None:
            async with stream(api, job_id) as events:
                await events.next()
                opened.set_result(None)
                return await events.next()

        task = asyncio.create_task(watch())
        poll = asyncio.create_task(api.get(f"/api/jobs/{job_id}?wait=60"))
        await opened
        await eventually(lambda: sum(len(w) for w in api.watcher._watches.values()) == 2)
        await api.watcher.stop()
        assert await asyncio.wait_for(task, 2) is None
        assert (await asyncio.wait_for(poll, 2)).json["status"] == "pending"


async def test_a_job_that_is_deleted_ends_its_stream(api: Api) -> None:
    job_id = await api.new_job()
    async with stream(api, job_id) as events:
        await events.next()
        await api.pool.execute("DELETE FROM analysis_jobs WHERE id = $1", UUID(job_id))
        assert await events.next() is None


async def test_a_stream_survives_a_failing_look(api: Api, monkeypatch: Any) -> None:
    job = await running(api)
    views, failures = api.watcher._store.views, iter([OSError("away")])

    async def flaky(ids: Any) -> Any:
        for failure in failures:
            raise failure
        return await views(ids)

    monkeypatch.setattr(api.watcher._store, "views", flaky)
    async with stream(api, str(job.id)) as events:
        await events.next()
        await step(api, job, 50)
        event = await events.next()
    assert event is not None
    assert event.data["progress"]["percent"] == 50


async def test_the_result_is_fetched_once_for_all_who_watch(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await running(api)
    fetched: list[UUID] = []
    get = JobStore.get

    async def counting(self: JobStore, job_id: UUID, *, user_id: UUID | None) -> JobView | None:
        fetched.append(job_id)
        return await get(self, job_id, user_id=user_id)

    async with AsyncExitStack() as opened:
        streams = [await opened.enter_async_context(stream(api, str(job.id))) for _ in range(8)]
        for events in streams:
            await events.next()
        monkeypatch.setattr(JobStore, "get", counting)
        await api.jobs.complete([(job, Completed('{"saved": 5}'))])
        last = [await events.next() for events in streams]
    assert [event and event.data["result"] for event in last] == [{"saved": 5}] * 8
    assert fetched == [job.id]


async def test_a_stream_tells_nothing_to_a_credential_that_was_revoked(web_pool: Pool) -> None:
    keys = KeyStore(web_pool)
    info, key = await keys.create(ANN, scopes=["read"])
    verifier = Authenticator(
        tokens=TokenVerifier(SharedSecret(SECRET), audience="authenticated", issuer=None),
        keys=KeyVerifier(keys, remembered_seconds=0.0),
    )
    async with serving(web_pool, authenticator=verifier) as api:
        job = await running(api)
        url = f"{api.url}/api/jobs/{job.id}/events"
        headers = {"Authorization": f"Bearer {key}"}
        async with api.session.get(url, headers=headers) as response:
            events = Stream(response)
            assert await events.next() is not None
            await keys.revoke(str(info.id))
            await step(api, job, 30)
            assert await events.next() is None
