"""One job in a hundred kills, hangs, leaks, spins or blocks the loop; the others go on."""

import asyncio
import time

from benchmarks.chaos import load
from benchmarks.chaos.poison import IN_LOOP, IN_PROCESS
from benchmarks.chaos.site import Plan, Run, Site, site

_MEAN_SECONDS = 2.0
_COMPLETED = """
SELECT count(*)
FROM analysis_jobs
WHERE job_type NOT LIKE 'poison%' AND status = 'completed'
"""
_OUTCOMES = """
SELECT error_code, count(*)
FROM analysis_jobs
WHERE job_type LIKE 'poison%'
GROUP BY error_code
ORDER BY error_code
"""
_SUMMARY = """
SELECT
    count(*) FILTER (WHERE harmful AND status <> 'failed') AS unended,
    max(crash_count) FILTER (WHERE harmful) AS most_crashes,
    max(fence) FILTER (WHERE harmful) AS most_attempts,
    count(*) FILTER (WHERE NOT harmful AND crash_count > 0) AS victims,
    count(*) FILTER (WHERE NOT harmful AND status <> 'completed') AS lost
FROM (SELECT *, job_type LIKE 'poison%' AS harmful FROM analysis_jobs) AS j
"""


async def poison(run: Run) -> None:
    """Measure the healthy alone, then with the poison among them; all of it in one run."""
    jobs = run.size(short=200, long=3_000)
    plan = Plan(workers=6 if run.long else 3, lease=1.0, heartbeat=0.3, poll=0.5)
    doses = _doses(run, max(2, jobs // 100))
    run.report.method = (
        f"{plan.workers} workers x {plan.concurrency} slots, jobs of {_MEAN_SECONDS:g} s on "
        f"average, {jobs} alone and {jobs} with {len(doses)} that do harm; retries come soon"
    )
    async with site(run, plan) as here:
        baseline = await _rate(here, jobs, [])
        await here.drained(patience=10)
        poisoned = await _rate(here, jobs, doses)
        # A process whose loop is blocked for good takes its time to be sure of that.
        await here.drained(patience=40)
        await here.workers.stop()
        # A worker that a job killed was harmed by nobody of ours.
        await here.check(peaceful=False)
        report = run.report
        report.figure("healthy alone", baseline, "jobs/s")
        report.figure("healthy beside poison", poisoned, "jobs/s")
        # A few seconds say too little for the figure that is promised.
        least = 70 if run.long else 50
        report.figure("of the baseline", 100 * poisoned / baseline, "%", at_least=least)
        report.figure("processes lost to it", len(here.workers.gone))
        for code, count in await here.pool.fetch(_OUTCOMES):
            report.figure(f"poison that ended as {code}", count)
        await _figures(here)


def _doses(run: Run, count: int) -> list[tuple[str, str]]:
    """By turns in the worker's process and in a child, every act as often as any other."""
    # What blocks a loop for good costs a worker too long for a short run.
    in_loop = [act for act in IN_LOOP if run.long or act != "spin"]
    in_child = [*IN_PROCESS]
    run.chance.shuffle(in_loop)
    run.chance.shuffle(in_child)
    # However few there are: a run that kills no process says nothing about the quarantine.
    in_loop.sort(key=lambda act: act != "kill")
    pairs = zip(in_loop, in_child, strict=False)
    acts = [dose for a, b in pairs for dose in (("poison", a), ("poison_in_process", b))]
    return [acts[number % len(acts)] for number in range(count)]


async def _figures(here: Site) -> None:
    report = here.run.report
    row = await here.pool.fetchrow(_SUMMARY)
    assert row is not None
    report.figure("poison not quarantined", row["unended"], at_most=0)
    report.figure("crashes of one poison job, most", row["most_crashes"], at_most=3)
    report.figure("attempts of one poison job, most", row["most_attempts"])
    report.figure("healthy jobs that were run again", row["victims"])
    report.figure("healthy jobs not completed", row["lost"], at_most=0)


async def _rate(here: Site, jobs: int, doses: list[tuple[str, str]]) -> float:
    """Healthy jobs completed in a second, while so many were fed and the doses spread over them."""
    before = await here.pool.fetchval(_COMPLETED)
    began = time.monotonic()
    over = asyncio.Event()

    async def feed() -> None:
        await load.keep_busy(
            here,
            backlog=2 * here.plan.workers * here.plan.concurrency,
            mean_seconds=_MEAN_SECONDS,
            enough=lambda fed: fed >= jobs,
            mix={"work": 0.95, "in_thread": 0.05},
        )
        over.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(feed())
        group.create_task(_give(here, jobs, doses, over))
    done = await here.pool.fetchval(_COMPLETED) - before
    return float(done) / (time.monotonic() - began)


async def _give(here: Site, jobs: int, doses: list[tuple[str, str]], over: asyncio.Event) -> None:
    fed_before = len(here.clients.acks)
    for number, (job_type, act) in enumerate(doses):
        while (
            len(here.clients.acks) - fed_before < number * jobs / len(doses) and not over.is_set()
        ):
            await asyncio.sleep(0.05)
        await here.clients.enqueue(job_type, act=act)
