"""The LISTEN connection ends, or goes silent without ending: jobs start by the poll meanwhile."""

import asyncio
import time
from uuid import UUID

from benchmarks.chaos.proxy import Link, Proxy, proxy_to
from benchmarks.chaos.report import quantile
from benchmarks.chaos.site import Plan, Run, Site, site

_WAKE_MEDIAN_SECONDS = 0.2
_BACK_SECONDS = 15.0
_GAP_SECONDS = 0.1
_LISTENERS = """
SELECT count(pg_terminate_backend(pid))
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'wastewise-jobs listener'
"""


async def listener(run: Run) -> None:
    """Jobs one by one to idle workers, while their listeners are harmed; then without NOTIFY."""
    jobs = run.size(short=10, long=40)
    poll = 5.0 if run.long else 1.5
    run.report.method = (
        f"2 idle workers, poll {poll:g} s, {jobs} jobs one by one for each figure, from the answer "
        "to the start of the handler; listeners terminated, then swallowed by a proxy"
    )
    async with proxy_to(run.postgres.dsn("postgres")) as proxy:
        through = Plan(workers=2, poll=poll, address=lambda name, _: proxy.dsn(name))
        async with site(run, through) as here:
            await _harm(here, proxy, jobs)
            await here.workers.stop()
            await here.check(peaceful=True)
    async with site(run, Plan(workers=2, poll=poll, notify=False)) as here:
        starts = await _starts(here, jobs)
        run.report.figure("NOTIFY off: longest", max(starts), "s", at_most=poll + 1)
        await here.workers.stop()
        await here.check(peaceful=True)


async def _harm(here: Site, proxy: Proxy, jobs: int) -> None:
    report, poll = here.run.report, here.plan.poll
    silence = 40.0 if here.run.long else 2.0
    await _back(here)
    healthy = quantile(await _starts(here, jobs), 0.5)
    report.figure("healthy: median", healthy, "s", at_most=_WAKE_MEDIAN_SECONDS)

    ended = await here.pool.fetchval(_LISTENERS)
    report.figure("listeners terminated", ended, at_least=here.plan.workers)
    starts = await _starts(here, jobs, gap=0)
    report.figure("terminated: longest", max(starts), "s", at_most=poll + 1)
    report.figure("terminated to back", await _back(here), "s", at_most=_BACK_SECONDS)

    proxy.swallow(_is_listener)
    # At any point of the time between two polls.
    starts = await _starts(here, jobs, gap=0.23 * poll)
    report.figure("silent: longest", max(starts), "s", at_most=poll + 1)
    await asyncio.sleep(silence)
    proxy.heal()
    report.figure("silence healed to back", await _back(here), "s", at_most=_BACK_SECONDS)


def _is_listener(link: Link) -> bool:
    return link.settings.get("application_name") == "wastewise-jobs listener"


async def _back(here: Site) -> float:
    """Seconds until wake-ups are quick again: the median of five starts in a row."""
    began = time.monotonic()
    while time.monotonic() - began < 2 * _BACK_SECONDS:
        since = time.monotonic() - began
        if quantile(await _starts(here, 5), 0.5) < _WAKE_MEDIAN_SECONDS:
            return since
    return time.monotonic() - began


async def _starts(here: Site, jobs: int, *, gap: float = _GAP_SECONDS) -> list[float]:
    """From each answer to the start of the handler, in seconds."""
    asked: dict[UUID, float] = {}
    for _ in range(jobs):
        job_id = await here.clients.enqueue("work")
        asked[job_id] = time.monotonic()
        await asyncio.sleep(gap)
    await here.drained(patience=here.plan.poll + 5)
    began = {row[0]: row[3] for row in here.runs.rows()}
    # A handler may begin before its client has read the answer.
    return [max(0.0, began[job_id] - at) for job_id, at in asked.items() if job_id in began]
