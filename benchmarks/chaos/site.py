"""A place to do harm in: a database with its history, an API, a fleet of workers, clients."""

import asyncio
import random
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from benchmarks.chaos import controls, history
from benchmarks.chaos.clients import SECRET, Clients, new_session
from benchmarks.chaos.fleet import Fleet, Member
from benchmarks.chaos.history import Fault, Runs
from benchmarks.chaos.invariants import idle_in_transaction, violations
from benchmarks.chaos.postgres import Postgres, with_settings
from benchmarks.chaos.report import Report

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Pool = asyncpg.Pool

_START_SECONDS = 60.0
_OURS_ONLY = ("--no-builtin",)
_WORK_SECONDS = 60.0
_UNFINISHED = "SELECT count(*) FROM job_queue"
# What a statement raises when its server goes away; asyncpg takes some of it for a bug of its own.
TROUBLE = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
# Nobody waits for minutes here: every retry comes after a moment.
_SOON = """
CREATE OR REPLACE FUNCTION retry_delay(_retry_count integer)
RETURNS interval
LANGUAGE sql
VOLATILE
AS $$ SELECT interval '200 milliseconds' * (1 + random()) $$
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the processes of a site are set up; times in seconds."""

    workers: int = 3
    concurrency: int = 8
    threads: int = 2
    lease: float = 3.0
    heartbeat: float = 0.8
    poll: float = 1.0
    grace: float = 2.0
    notify: bool = True
    api: bool = True
    supervised: bool = True
    # The handlers that the product itself brings, beside the harness's own.
    builtin: bool = False
    # Where the processes find the database, for a name; the server itself unless given.
    address: Callable[[str, str], str] | None = None
    more: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """As the processes read it."""
        return {
            "JWT_SECRET": SECRET,
            "PORT": "0",
            "LEASE_SECONDS": f"{self.lease:g}",
            "HEARTBEAT_SECONDS": f"{self.heartbeat:g}",
            "POLL_INTERVAL_SECONDS": f"{self.poll:g}",
            "SHUTDOWN_GRACE_SECONDS": f"{self.grace:g}",
            "NOTIFY_ENABLED": str(self.notify),
            "WORKER_CONCURRENCY": str(self.concurrency),
            "WORKER_THREADS": str(self.threads),
            "WORKER_PROCESSES": "1",
            "DATABASE_POOL_SIZE": "4",
            **self.more,
        }


@dataclass(frozen=True, slots=True)
class Run:
    """What a scenario is given: a server, a schedule's seed, the size, what is taken away."""

    postgres: Postgres
    report: Report
    chance: random.Random
    part: float
    long: bool
    without: tuple[str, ...]
    keep_logs: bool
    # False: every process runs with NOTIFY_ENABLED=false.
    notify: bool

    def chance_of(self, seed: str) -> random.Random:
        """Randomness of its own for somebody who acts beside others."""
        return random.Random(f"{self.report.seed} {seed}")

    def size(self, *, short: int, long: int) -> int:
        """A number of jobs or faults, by the profile and the part of it that was asked for."""
        return max(1, round((long if self.long else short) * self.part))


@dataclass(slots=True)
class Site:
    """Everything that is there while a scenario runs."""

    run: Run
    plan: Plan
    dsn: str
    folder: Path
    pool: Pool
    workers: Fleet
    apis: Fleet
    clients: Clients
    runs: Runs
    # Jobs that did not come over HTTP are promised by the commit of their statement.
    promised: list[UUID] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    async def unfinished(self) -> int | None:
        """How many jobs have not come to their end; None while the database is away."""
        try:
            count: int = await self.pool.fetchval(_UNFINISHED, timeout=10)
        except TROUBLE:
            return None
        return count

    async def drained(self, *, patience: float) -> None:
        """Wait until every job has come to its end, or nothing has happened for so long."""
        seen, since = -1, time.monotonic()
        while await self.unfinished() != 0 and time.monotonic() - since < patience:
            events = await self.pool.fetchval("SELECT coalesce(max(seq), 0) FROM chaos.events")
            if events != seen:
                seen, since = events, time.monotonic()
            await asyncio.sleep(0.1)

    async def check(self, *, peaceful: bool, without: Sequence[str] = ()) -> None:
        """Hold the history against the invariants; the fleet has been stopped."""
        acks = [*self.clients.acks, *((job_id, None) for job_id in self.promised)]
        connection = await asyncpg.connect(self.dsn)
        try:
            await history.load(connection, acks=acks, runs=self.runs, faults=self.faults)
            self.run.report.broken(await violations(connection, peaceful=peaceful, without=without))
            if open_ := await idle_in_transaction(connection, seconds=5):
                self.run.report.broken([f"{open_} sessions left a transaction open"])
        finally:
            await connection.close()

    def harm(self, member: Member, number: signal.Signals) -> Fault:
        """Send a signal that no process likes, and remember it."""
        member.harmed = True
        fault = Fault(member.name, number.name)
        self.faults.append(fault)
        member.send(number)
        return fault

    def at_work(self, member: Member) -> bool:
        """Whether a handler of the process has begun and not ended."""
        return member.alive and self.runs.open(member.name) > 0

    async def until_at_work(self, slot: str) -> Member:
        """Wait until the process in the slot is at work, and half of the others are."""

        def ready() -> bool:
            others = [m for m in self.workers.members.values() if m.slot != slot]
            up = sum(self.at_work(member) for member in others)
            return self.at_work(self.workers.members[slot]) and 2 * up >= len(others)

        if not await wait_until(ready, within=_WORK_SECONDS, every=0.01):
            raise RuntimeError(f"{slot} and its neighbours found no work for {_WORK_SECONDS:g} s")
        return self.workers.members[slot]

    def tracebacks(self, *fleets: Fleet) -> int:
        """How many errors that nobody expected stand in the logs, of all processes by default."""
        return sum(
            "Traceback" in str(line)
            for fleet in fleets or (self.workers, self.apis)
            for member in fleet.everybody
            for line in member.lines()
        )


@asynccontextmanager
async def site(run: Run, plan: Plan) -> AsyncIterator[Site]:
    """A site whose processes are up; ended and removed afterwards."""
    async with AsyncExitStack() as opened:
        name = await opened.enter_async_context(run.postgres.database())
        folder = Path(tempfile.mkdtemp(prefix="wwj-chaos-site-"))
        opened.callback(_leave, run, folder)
        for part in ("logs", "runs"):
            (folder / part).mkdir()
        dsn = run.postgres.dsn(name, chaos__process="harness")
        await _prepare(dsn, run.without)
        pool = await opened.enter_async_context(asyncpg.create_pool(dsn, min_size=0, max_size=8))
        # A pool that waits for the server to come back would keep the end waiting.
        opened.callback(pool.terminate)
        session = await opened.enter_async_context(new_session())
        workers, apis = _fleets(run, plan, name, folder)
        here = Site(
            run, plan, dsn, folder, pool, workers, apis, Clients("", session), Runs(folder / "runs")
        )
        for fleet in (apis, workers):
            opened.push_async_callback(fleet.stop)
            fleet.start()
        await _until_up(here)
        yield here


def _leave(run: Run, folder: Path) -> None:
    """Remove the logs, but not those that somebody will want to read."""
    if run.keep_logs and run.report.problems:
        run.report.logs = str(folder)
    else:
        shutil.rmtree(folder)


async def _prepare(dsn: str, without: Sequence[str]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(history.INSTALL)
        await connection.execute(_SOON)
        for protection in without:
            await controls.remove(connection, protection)
    finally:
        await connection.close()


def _fleets(run: Run, plan: Plan, database: str, folder: Path) -> tuple[Fleet, Fleet]:
    def address(name: str) -> str:
        if plan.address is not None:
            return with_settings(plan.address(database, name), chaos__process=name)
        return run.postgres.dsn(database, chaos__process=name)

    def fleet(prefix: str, size: int, *command: str) -> Fleet:
        return Fleet(
            command,
            prefix=prefix,
            size=size,
            folder=folder,
            address=address,
            env=plan.environment() | ({} if run.notify else {"NOTIFY_ENABLED": "false"}),
            supervised=plan.supervised,
        )

    handlers = ("--app", "benchmarks.chaos.handlers:jobs", *(() if plan.builtin else _OURS_ONLY))
    return fleet("w", plan.workers, "worker", *handlers), fleet("api", int(plan.api), "api")


async def _until_up(here: Site) -> None:
    for member in here.workers.members.values():
        await until_started(member, "worker_started")
    for member in here.apis.members.values():
        await until_started(member, "api_started")
        here.clients.url = member.events("api_started")[0]["url"]


async def until_started(member: Member, event: str) -> None:
    """Wait until its log says so. Raises RuntimeError with the log if it ends before."""

    def said() -> bool:
        if not member.alive:
            raise RuntimeError(f"{member.name} ended: {member.log.read_text()[-2000:]}")
        return bool(member.events(event))

    if not await wait_until(said, within=_START_SECONDS):
        raise RuntimeError(f"{member.name} never said {event}: {member.log.read_text()[-2000:]}")


async def wait_until(
    check: Callable[[], bool | Awaitable[bool]], *, within: float, every: float = 0.05
) -> bool:
    """Whether the condition came true in time."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        found = check()
        if found if isinstance(found, bool) else await found:
            return True
        await asyncio.sleep(every)
    return False
