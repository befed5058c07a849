"""PostgreSQL goes away under load and comes back: it is restarted, or the network goes silent."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.chaos.postgres import Ending
from benchmarks.chaos.proxy import proxy_to
from benchmarks.chaos.report import quantile
from benchmarks.chaos.site import Plan, Run, Site, site, wait_until

_CLIENTS = 8
_PAUSE_SECONDS = 0.05
_RECOVERY_SECONDS = 20.0
_MIX = {"work": 0.8, "effect": 0.2}


async def restart(run: Run) -> None:
    """Restart the server again and again while clients and workers go on."""
    longest = 10.0 if run.long else 1.5
    endings = [list(Ending)[number % 3] for number in range(run.size(short=3, long=50))]
    run.chance.shuffle(endings)
    run.report.method = (
        f"2 workers and an API, {_CLIENTS} clients that enqueue and look; the server stopped fast, "
        f"immediately or by kill -9, and started after 0 to {longest:g} s"
    )
    server = run.postgres
    outages = [_Outage(partial(server.stop, how), server.start) for how in endings]
    async with site(run, Plan(workers=2, supervised=False)) as here:
        await _through(here, outages, longest=longest, back_within=5.0)


async def silence(run: Run) -> None:
    """A network that swallows everything, again and again; connections that were open stay dead."""
    longest = 30.0 if run.long else 3.0
    count = run.size(short=1, long=20)
    run.report.method = (
        f"2 workers and an API, {_CLIENTS} clients, DATABASE_TIMEOUT_SECONDS 3; a proxy swallows "
        f"all bytes both ways for up to {longest:g} s"
    )
    async with proxy_to(run.postgres.dsn("postgres")) as proxy:

        async def begin() -> None:
            proxy.swallow()

        async def end() -> None:
            proxy.heal()

        plan = Plan(
            workers=2,
            supervised=False,
            address=lambda database, _: proxy.dsn(database),
            more={"DATABASE_TIMEOUT_SECONDS": "3"},
        )
        async with site(run, plan) as here:
            await _through(here, [_Outage(begin, end)] * count, longest=longest, back_within=10.0)


@dataclass(frozen=True, slots=True)
class _Outage:
    """`end` returns once the server takes connections again."""

    begin: Callable[[], Awaitable[None]]
    end: Callable[[], Awaitable[None]]


async def _through(
    here: Site, outages: list[_Outage], *, longest: float, back_within: float
) -> None:
    run, over = here.run, asyncio.Event()
    pauses = [(run.chance.uniform(0.3, 1.5), run.chance.uniform(0, longest)) for _ in outages]
    firsts, lines = [], []
    async with asyncio.TaskGroup() as group:
        for number in range(_CLIENTS):
            group.create_task(_client(here, over, seed=f"{number} {run.chance.random()}"))
        for outage, (pause, lasting) in zip(outages, pauses, strict=True):
            await asyncio.sleep(pause)
            first, most_lines = await _live_through(here, outage, lasting)
            firsts.append(first)
            lines.append(most_lines)
        over.set()
    await here.drained(patience=here.plan.lease + 8)
    ended = [m for m in (*here.workers.everybody, *here.apis.everybody) if not m.alive]
    await here.workers.stop()
    await here.check(peaceful=True)
    report = run.report
    report.figure("outages", len(outages))
    report.figure("jobs", len(here.clients.acks))
    report.figure("answers", here.clients.answers.total())
    report.figure("of them 503", here.clients.answers["503"])
    report.broken(here.clients.dishonest[:5])
    report.figure("other than success or 503", len(here.clients.dishonest), at_most=0)
    report.figure("accepting to first success, median", quantile(firsts, 0.5), "s")
    report.figure("accepting to first success, longest", max(firsts), "s", at_most=back_within)
    report.figure("log lines per process and outage, most", max(lines), at_most=20)
    report.figure("processes that ended", len(ended), at_most=0)
    lost = "SELECT count(*) FROM analysis_jobs WHERE status <> 'completed'"
    report.figure("jobs not completed", await here.pool.fetchval(lost), at_most=0)
    again = "SELECT count(*) - count(DISTINCT job_id) FROM chaos.runs"
    report.figure("runs cut off by an outage", await here.pool.fetchval(again))
    crashed = "SELECT count(*) FROM analysis_jobs WHERE crash_count > 0"
    report.figure("jobs charged with a crash", await here.pool.fetchval(crashed))
    report.figure("tracebacks in logs", here.tracebacks(), at_most=0)


async def _client(here: Site, over: asyncio.Event, *, seed: str) -> None:
    chance = here.run.chance_of(seed)
    while not over.is_set():
        (job_type,) = chance.choices([*_MIX], [*_MIX.values()])
        # Under a tenth of a second: the worker sums them up in one line a second.
        job_id = await here.clients.enqueue(job_type, seconds=round(chance.uniform(0, 0.08), 3))
        await here.clients.request("GET", f"/api/jobs/{job_id}")
        await asyncio.sleep(chance.uniform(0, 2 * _PAUSE_SECONDS))


async def _live_through(here: Site, outage: _Outage, lasting: float) -> tuple[float, int]:
    """Seconds from the server's first answer to the API's, and the most lines of one process."""
    members = [*here.workers.members.values(), *here.apis.members.values()]
    before = {member.name: member.log_length() for member in members}
    await outage.begin()
    await asyncio.sleep(lasting)
    await outage.end()
    first = await _first_success(here, since=time.monotonic())
    # Whatever else has to come back has come back when a new job has been through all of it.
    job_id = await here.clients.enqueue("work", seconds=0)
    await wait_until(lambda: _finished(here, str(job_id)), within=_RECOVERY_SECONDS)
    said = [
        sum(not _ordinary(line) for line in member.lines(since=before[member.name]))
        for member in members
    ]
    return first, max(said)


async def _first_success(here: Site, *, since: float) -> float:
    await wait_until(
        lambda: bool(here.clients.successes) and here.clients.successes[-1] > since,
        within=_RECOVERY_SECONDS,
        every=0.01,
    )
    return next((at - since for at in here.clients.successes if at > since), _RECOVERY_SECONDS)


async def _finished(here: Site, job_id: str) -> bool:
    reply = await here.clients.request("GET", f"/api/jobs/{job_id}")
    return reply.status == 200 and reply.body["status"] == "completed"


def _ordinary(line: dict[str, object]) -> bool:
    # One line for what became of a job, or for an answer, is no line about the outage.
    event = str(line.get("event"))
    return event.startswith("job") or event == "request_answered"
