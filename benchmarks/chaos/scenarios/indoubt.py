"""The connection breaks after a commit was sent and before its answer: did it happen or not?"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from benchmarks.chaos import load
from benchmarks.chaos.clients import Reply
from benchmarks.chaos.proxy import Cut, Proxy, proxy_to
from benchmarks.chaos.site import Plan, Run, Site, site

_CUT_SECONDS = 10.0
_PROPERTY = {
    "propertyName": "Oak Court",
    "units": 200,
    "city": "Austin",
    "state": "TX",
    "propertyType": "Garden-Style",
    "equipmentType": "COMPACTOR",
}
# Any statement that changes something, as the processes send it.
_CHANGE = r"(?i)\b(insert|update|delete|commit|enqueue_jobs|cancel_job|requeue_job)\b"
_WORKERS_CHANGE = r"\b(claim_jobs|complete_jobs|heartbeat_jobs|retry_jobs|release_jobs|COMMIT)\b"


async def indoubt(run: Run) -> None:
    """Cut the API's connection at each change, then the workers'; whoever was cut asks again."""
    cuts = run.size(short=2, long=200)
    run.report.method = (
        f"{cuts} cuts for each mutating endpoint and {5 * cuts} for the workers' statements, every "
        "second one before the server has answered; the client asks again, with the same key"
    )
    async with proxy_to(run.postgres.dsn("postgres")) as proxy:
        plan = Plan(workers=1, poll=0.5, address=lambda database, _: proxy.dsn(database))
        async with site(run, plan) as here:
            failed = [await here.clients.enqueue("refuse") for _ in range(cuts)]
            await here.drained(patience=10)
            # Nobody shall run meanwhile what is cancelled or sent round again.
            await here.workers.stop()
            for change in _Subjects(here, failed).changes():
                await _cut_and_repeat(here, proxy, change, cuts)
            here.workers.start()
            await _cut_workers(here, proxy, 5 * cuts)
            await here.drained(patience=plan.lease + 10)
            await here.workers.stop()
            run.report.figure("answers of 503", here.clients.answers["503"])
            run.report.figure("tracebacks in logs", here.tracebacks(), at_most=0)
            await here.check(peaceful=True)


@dataclass(frozen=True, slots=True)
class _Change:
    """`prepare(number)` makes what is changed; `ask` changes it; `once` says whether it is so."""

    name: str
    prepare: Callable[[int], Awaitable[str]]
    ask: Callable[[str], Awaitable[Reply]]
    once: Callable[[str, Reply], Awaitable[bool]]


async def _cut_and_repeat(here: Site, proxy: Proxy, change: _Change, cuts: int) -> None:
    made = right = 0
    for number in range(cuts):
        subject = await change.prepare(number)
        cut = proxy.cut_next(_CHANGE, list(Cut)[number % 2])
        reply = await _until_answered(change.ask, subject)
        made += cut.done()
        proxy.disarm()
        right += await change.once(subject, reply)
    here.run.report.figure(f"{change.name}: cuts", made, at_least=cuts)
    here.run.report.figure(f"{change.name}: otherwise than once", cuts - right, at_most=0)


async def _until_answered(ask: Callable[[str], Awaitable[Reply]], subject: str) -> Reply:
    while True:
        reply = await ask(subject)
        if reply.status not in {0, 503}:
            return reply
        await asyncio.sleep(0.02)


class _Subjects:
    """What is there to be changed, and whether it has been changed exactly once."""

    def __init__(self, here: Site, failed: list[UUID]) -> None:
        self._clients = here.clients
        self._pool = here.pool
        self._failed = failed

    def changes(self) -> list[_Change]:
        """One for every mutating endpoint of users."""
        job, project = "/api/jobs/{}", "/api/projects/{}"
        return [
            _Change("create a job", self._key, self._clients.analyze, self._one_job),
            _Change("cancel a job", self._waiting, self._send("DELETE", job), self._cancelled),
            _Change(
                "cancel a job by POST",
                self._waiting,
                self._send("POST", f"{job}/cancel"),
                self._cancelled,
            ),
            _Change(
                "retry a job",
                self._failed_one,
                self._send("POST", f"{job}/retry"),
                self._sent_round_once,
            ),
            _Change("store a file", self._file, self._send("PUT", "{}", data=b"c,d"), self._there),
            _Change("delete a file", self._file, self._send("DELETE", "{}"), self._gone),
            _Change("delete a property", self._project, self._send("DELETE", project), self._gone),
        ]

    def _send(self, method: str, path: str, **options: Any) -> Callable[[str], Awaitable[Reply]]:
        return lambda subject: self._clients.request(method, path.format(subject), **options)

    async def _key(self, number: int) -> str:
        return f"in-doubt-{number}"

    async def _waiting(self, _: int) -> str:
        return str(await self._clients.enqueue("work", run_at="2999-01-01T00:00:00Z"))

    async def _failed_one(self, number: int) -> str:
        return str(self._failed[number])

    async def _project(self, _: int) -> str:
        reply = await self._clients.request("POST", "/api/projects", json=_PROPERTY)
        return str(reply.body["id"])

    async def _file(self, number: int) -> str:
        path = f"/api/projects/{await self._project(number)}/files/a.csv"
        await self._clients.request("PUT", path, data=b"a,b")
        return path

    async def _one_job(self, key: str, reply: Reply) -> bool:
        ids = "SELECT id::text FROM analysis_jobs WHERE input_data ->> 'key' = $1"
        made = [row[0] for row in await self._pool.fetch(ids, key)]
        return made == [reply.body["jobId"]]

    async def _cancelled(self, job_id: str, reply: Reply) -> bool:
        status = "SELECT status FROM analysis_jobs WHERE id = $1"
        cancelled = await self._pool.fetchval(status, UUID(job_id)) == "cancelled"
        return cancelled and reply.status in {200, 409}

    async def _sent_round_once(self, job_id: str, reply: Reply) -> bool:
        rounds = "SELECT max(round) FROM chaos.steps WHERE job_id = $1"
        return await self._pool.fetchval(rounds, UUID(job_id)) == 1 and reply.status in {200, 409}

    async def _gone(self, subject: str, reply: Reply) -> bool:
        path = subject if subject.startswith("/") else f"/api/projects/{subject}"
        again = await self._clients.request("GET", path)
        return reply.status in {204, 404} and again.status == 404

    async def _there(self, path: str, reply: Reply) -> bool:
        again = await self._clients.request("GET", path)
        return reply.status in {200, 201} and again.status == 200


async def _cut_workers(here: Site, proxy: Proxy, cuts: int) -> None:
    """Cut whatever the worker says next, while it has something to say."""
    made = 0
    over = asyncio.Event()

    async def feed() -> None:
        await load.keep_busy(here, backlog=16, mean_seconds=0.2, enough=lambda _: over.is_set())

    async with asyncio.TaskGroup() as group:
        group.create_task(feed())
        for number in range(cuts):
            cut = proxy.cut_next(_WORKERS_CHANGE, list(Cut)[number % 2])
            with suppress(TimeoutError):
                await asyncio.wait_for(cut, _CUT_SECONDS)
                made += 1
            await asyncio.sleep(here.run.chance.uniform(0, 0.2))
        proxy.disarm()
        over.set()
    here.run.report.figure("workers' statements: cuts", made, at_least=cuts)
