"""SIGTERM to workers at random moments: at their start, at work, while the database is away."""

import asyncio
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.chaos import load
from benchmarks.chaos.fleet import Member
from benchmarks.chaos.postgres import Ending
from benchmarks.chaos.proxy import Proxy, proxy_to
from benchmarks.chaos.report import quantile
from benchmarks.chaos.site import Plan, Run, Site, site, wait_until

_START_SECONDS = 30.0

_RELEASED = """
SELECT extract(epoch FROM n.began - a.ended)::double precision
FROM chaos.faults f
JOIN chaos.attempts a ON a.process = f.process AND a.ended >= f.at
JOIN chaos.attempts n ON n.job_id = a.job_id AND n.fence = a.fence + 1
WHERE f.act = 'SIGTERM'
  AND a.outcome = 'pending' AND a.crashed_after = 0 AND a.charged_after = 0
"""
# Attempts of processes that were told to stop while the database was there, and that were rescued.
_NOT_RELEASED = """
SELECT count(*)
FROM chaos.faults f
JOIN chaos.attempts a ON a.process = f.process AND a.crashed_after > 0
WHERE f.act = 'SIGTERM'
"""
_CHARGED = "SELECT count(*) FROM analysis_jobs WHERE retry_count > 0"
# Handlers that do not use the database: what an outage does to their own statements is an error of
# theirs, signal or no signal.
_MIX = {"work": 0.88, "in_thread": 0.08, "block": 0.04}


@dataclass(frozen=True, slots=True)
class _Fault:
    pause: float
    slot: str
    # Before it counts, the process must have come so far.
    starting: bool
    outage: str | None


async def term(run: Run) -> None:
    """Tell workers to stop, one after the other; a supervisor starts the next one."""
    terms = run.size(short=6, long=200)
    plan = Plan(workers=3, grace=0.6, lease=3.0, more={"DATABASE_TIMEOUT_SECONDS": "3"})
    schedule = [
        _Fault(
            run.chance.uniform(0, 0.8),
            f"w{run.chance.randint(1, plan.workers)}",
            starting=run.chance.random() < 0.2,
            outage={2: "stopped", 5: "silent"}.get(number % 6),
        )
        for number in range(terms)
    ]
    run.report.method = (
        f"{plan.workers} workers, grace {plan.grace:g} s, jobs of up to 3 s; of six signals one "
        "comes while PostgreSQL is stopped, one while it is silent, some while the process starts"
    )
    async with (
        proxy_to(run.postgres.dsn("postgres")) as proxy,
        site(run, replace(plan, address=lambda name, _: proxy.dsn(name))) as here,
    ):
        ended: list[tuple[int, float]] = []
        over = False

        async def terminate_all() -> None:
            nonlocal over
            for fault in schedule:
                await asyncio.sleep(fault.pause)
                ended.append(await _terminate(here, proxy, fault))
            over = True

        async with asyncio.TaskGroup() as group:
            group.create_task(terminate_all())
            # Half of what the others can take: what is released finds a free slot.
            backlog = (plan.workers - 1) * plan.concurrency // 2
            feeding = group.create_task(
                load.keep_busy(
                    here, backlog=backlog, mean_seconds=1.5, enough=lambda _: over, mix=_MIX
                )
            )
        await here.drained(patience=plan.lease + 10)
        await here.workers.stop()
        await here.check(peaceful=True)
        await _figures(here, ended, fed=feeding.result())


async def _terminate(here: Site, proxy: Proxy, fault: _Fault) -> tuple[int, float]:
    """The exit code, and how long the process took to end."""
    if fault.starting:
        member = here.workers.members[fault.slot]
        await wait_until(lambda: _hears(member), within=_START_SECONDS, every=0.005)
    else:
        member = await here.until_at_work(fault.slot)
    if fault.outage is None:
        here.harm(member, signal.SIGTERM)
        return await _end_of(here, member)
    if fault.outage == "stopped":
        await here.run.postgres.stop(Ending.FAST)
    else:
        proxy.swallow(lambda link: link.settings.get("chaos.process") == member.name)
    await asyncio.sleep(0.1)
    # Known under another name: this process cannot write any more.
    here.harm(member, signal.SIGTERM).act = f"SIGTERM, database {fault.outage}"
    ended = await _end_of(here, member)
    proxy.heal()
    await here.run.postgres.start()
    return ended


async def _end_of(here: Site, member: Member) -> tuple[int, float]:
    began = time.monotonic()
    limit = here.plan.grace + 10
    if not await wait_until(lambda: not member.alive, within=limit, every=0.005):
        member.popen.kill()
    return member.popen.wait(), time.monotonic() - began


def _hears(member: Member) -> bool:
    """Whether the process catches SIGTERM yet: before that no program can act on it."""
    status = Path(f"/proc/{member.popen.pid}/status")
    if not status.exists():
        return False
    caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


async def _figures(here: Site, ended: list[tuple[int, float]], *, fed: int) -> None:
    report, grace = here.run.report, here.plan.grace
    released = [row[0] for row in await here.pool.fetch(_RELEASED)]
    report.figure("jobs", fed)
    report.figure("signals", len(ended))
    codes = Counter(code for code, _ in ended)
    for code in sorted(codes.keys() - {0}):
        report.figure(f"exit code {code}", codes[code])
    report.figure("exit codes other than 0", len(ended) - codes[0], at_most=0)
    report.figure("signal to exit, median", quantile([took for _, took in ended], 0.5), "s")
    longest = max(took for _, took in ended)
    report.figure("signal to exit, longest", longest, "s", at_most=grace + 2)
    report.figure("jobs charged with an attempt", await here.pool.fetchval(_CHARGED), at_most=0)
    left = await here.pool.fetchval(_NOT_RELEASED)
    report.figure("attempts not released though they could be", left, at_most=0)
    report.figure("released jobs", len(released), at_least=1)
    report.figure("released to next start, median", quantile(released, 0.5), "s")
    report.figure("released to next start, longest", quantile(released, 1.0), "s", at_most=2)
    report.figure("tracebacks in logs", here.tracebacks(), at_most=0)
