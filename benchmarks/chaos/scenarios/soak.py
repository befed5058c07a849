"""Half an hour of everything at once: nothing may grow that has no reason to."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from statistics import median

import psutil

from benchmarks.chaos.clients import token
from benchmarks.chaos.fleet import Member
from benchmarks.chaos.load import MIX
from benchmarks.chaos.site import Plan, Run, Site, site
from wastewise_jobs.analysis.sample import sample_files, sample_property
from wastewise_jobs.client import Client
from wastewise_jobs.wire.projects import ProjectRequest

_JOBS_A_SECOND = 20
_DATABASE = """
SELECT
    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS connections,
    (SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'job_queue') AS dead_in_queue,
    (SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'analysis_jobs') AS dead_in_jobs,
    pg_total_relation_size('job_queue') / 2^20 AS queue_mib
"""
_CENSUS = """
SELECT (result_data ->> 'tasks')::integer, (result_data ->> 'threads')::integer
FROM analysis_jobs
WHERE job_type = 'census' AND status = 'completed'
ORDER BY created_at
"""


@dataclass(slots=True)
class _Series:
    """Values over time; of the first quarter nothing is asked."""

    values: list[float] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """From the second quarter to the last one, each by its median."""
        quarter = max(1, len(self.values) // 4)
        return median(self.values[-quarter:]) - median(self.values[quarter : 2 * quarter])


async def soak(run: Run) -> None:
    """Jobs of every type, analyses, lists, waits, streams, cancellations; and a look at growth."""
    seconds = run.size(short=12, long=1_800)
    plan = Plan(workers=2, lease=10, heartbeat=3, poll=2, builtin=True)
    run.report.method = (
        f"{seconds} s, {plan.workers} workers and an API, {_JOBS_A_SECOND} jobs/s, one analysis "
        "after the other, lists, waits, streams; growth from the second to the last quarter"
    )
    async with site(run, plan) as here:
        over = asyncio.Event()
        series: dict[str, _Series] = {}
        async with Client(here.clients.url, token()) as client, asyncio.TaskGroup() as group:
            for act, every in (
                (_one_job, 1 / _JOBS_A_SECOND),
                (_look_around, 0.2),
                (_analyse, 5.0),
                (_follow, 1.0),
                (_cancel, 0.5),
                (_count, max(seconds / 100, 0.3)),
            ):
                group.create_task(_again_and_again(act, here, client, every, over))
            group.create_task(_sample(here, series, max(seconds / 200, 0.3), over))
            await asyncio.sleep(seconds)
            over.set()
        await here.drained(patience=30)
        await _census(here, series)
        await here.workers.stop()
        _figures(run, series)
        run.report.figure("jobs", await here.pool.fetchval("SELECT count(*) FROM analysis_jobs"))
        bad = "SELECT count(*) FROM analysis_jobs WHERE status NOT IN ('completed', 'cancelled')"
        run.report.figure("jobs that failed", await here.pool.fetchval(bad), at_most=0)
        run.report.broken(here.clients.dishonest[:5])
        run.report.figure("tracebacks in logs", here.tracebacks(), at_most=0)
        # An analysis tells no fence, and nobody wrote down its run.
        await here.check(peaceful=True, without=("last_fence_wins", "completed_was_run"))


Act = Callable[[Site, Client], Awaitable[object]]


async def _again_and_again(
    act: Act, here: Site, client: Client, every: float, over: asyncio.Event
) -> None:
    due = time.monotonic()
    while not over.is_set():
        await act(here, client)
        due = max(due + every, time.monotonic() - every)
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), max(0.0, due - time.monotonic()))


async def _one_job(here: Site, _: Client) -> None:
    (job_type,) = here.run.chance.choices([*MIX], [*MIX.values()])
    seconds = 0.02 if job_type == "block" else here.run.chance.uniform(0, 0.5)
    await here.clients.enqueue(job_type, seconds=round(seconds, 3))


async def _look_around(here: Site, client: Client) -> None:
    page = await client.jobs(limit=50, statuses=["processing", "completed"])
    if page.jobs:
        await client.job(here.run.chance.choice(page.jobs).id)


async def _follow(here: Site, client: Client) -> None:
    job_id = await here.clients.enqueue("work", seconds=0.3)
    async with aclosing(client.events(job_id)) as events:
        async for _ in events:
            pass


async def _cancel(here: Site, client: Client) -> None:
    await client.cancel(await here.clients.enqueue("work", seconds=5))


async def _count(here: Site, _: Client) -> None:
    await here.clients.enqueue("census")


async def _analyse(_: Site, client: Client) -> None:
    facts = sample_property()
    project = await client.create_project(
        ProjectRequest(
            property_name=facts.name,
            units=facts.units,
            city=facts.city,
            state=facts.state,
            equipment_type="COMPACTOR",
        )
    )
    for file in sample_files():
        await client.upload_file(project.id, file.name, file.content)
    made = await client.submit("complete_analysis", project_id=project.id)
    job = await client.finished_job(made.job_id)
    if job.status == "completed":
        await client.report(job.id, "html")


async def _sample(
    here: Site, series: dict[str, _Series], every: float, over: asyncio.Event
) -> None:
    def note(name: str, value: float) -> None:
        series.setdefault(name, _Series()).values.append(value)

    while not over.is_set():
        row = await here.pool.fetchrow(_DATABASE)
        assert row is not None
        for name, value in row.items():
            note(name, value)
        for member in (*here.workers.members.values(), *here.apis.members.values()):
            for name, value in _weigh(member).items():
                note(f"{member.slot} {name}", value)
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), every)


def _weigh(member: Member) -> dict[str, float]:
    process = psutil.Process(member.popen.pid)
    children = process.children(recursive=True)
    return {
        "memory": process.memory_info().rss / 2**20,
        "files": process.num_fds(),
        "threads": process.num_threads(),
        "children": len(children),
    }


async def _census(here: Site, series: dict[str, _Series]) -> None:
    for tasks, threads in await here.pool.fetch(_CENSUS):
        series.setdefault("tasks of a worker", _Series()).values.append(tasks)
        series.setdefault("Python threads of a worker", _Series()).values.append(threads)


# What each may grow by, in a run long enough to be warm; bytes in MiB.
_LIMITS = {"memory": 24.0, "files": 10.0, "threads": 4.0, "children": 1.0, "connections": 3.0}
_WARM_SECONDS = 300


def _figures(run: Run, series: dict[str, _Series]) -> None:
    report, warm = run.report, run.size(short=12, long=1_800) >= _WARM_SECONDS
    for name, values in series.items():
        what = name.rpartition(" ")[2]
        if name.startswith("dead"):
            report.figure(f"{name}, most", max(values.values), at_most=20_000)
        elif name == "queue_mib":
            report.figure("size of job_queue, most", max(values.values), "MiB", at_most=32)
        elif "of a worker" in name:
            report.figure(f"{name}: growth", values.growth, at_most=10)
        else:
            # A cold process grows into its caches.
            limit = _LIMITS[what] if warm else 4 * _LIMITS[what]
            unit = "MiB" if what == "memory" else ""
            report.figure(f"{name}: last", values.values[-1], unit)
            report.figure(f"{name}: growth", values.growth, unit, at_most=limit)
