"""kill -9 of workers at random moments, while they work."""

import asyncio
import signal

from benchmarks.chaos import load
from benchmarks.chaos.report import quantile
from benchmarks.chaos.site import Plan, Run, Site, site

_RECLAIMS = """
SELECT
    extract(epoch FROM a.ended - f.at)::double precision,
    extract(epoch FROM n.began - f.at)::double precision
FROM chaos.faults f
JOIN chaos.attempts a ON a.process = f.process AND a.crashed_after > 0 AND a.outcome = 'pending'
JOIN chaos.attempts n ON n.job_id = a.job_id AND n.fence = a.fence + 1
"""
# Every attempt that was lost without an end of its own, in a process that nobody killed.
_UNCAUSED = """
SELECT count(*)
FROM chaos.attempts a
WHERE a.crashed_after > 0
  AND NOT EXISTS (SELECT 1 FROM chaos.faults f WHERE f.process = a.process)
"""


async def kill(run: Run) -> None:
    """Kill busy workers one after the other; a supervisor starts them again."""
    jobs, kills = run.size(short=2_000, long=20_000), run.size(short=20, long=200)
    plan = Plan(workers=6 if run.long else 3, lease=2.0, heartbeat=0.5)
    slots = plan.workers * plan.concurrency
    # So long that about so many jobs are done when the last kill is.
    mean = 0.4 if run.long else 0.15
    schedule = [
        (run.chance.uniform(0, 0.6), f"w{run.chance.randint(1, plan.workers)}")
        for _ in range(kills)
    ]
    run.report.method = (
        f"{plan.workers} workers x {plan.concurrency} slots, lease {plan.lease:g} s; jobs of "
        f"{mean * 1000:.0f} ms on average over HTTP; each kill hits a process that is at work, as "
        "half of the others are"
    )
    async with site(run, plan) as here:
        done = 0

        async def kill_all() -> None:
            nonlocal done
            for wait, slot in schedule:
                await asyncio.sleep(wait)
                here.harm(await here.until_at_work(slot), signal.SIGKILL)
                done += 1

        async with asyncio.TaskGroup() as group:
            group.create_task(kill_all())
            feeding = group.create_task(
                load.keep_busy(
                    here,
                    backlog=3 * slots,
                    mean_seconds=mean,
                    enough=lambda fed: fed >= jobs and done == kills,
                )
            )
        await here.drained(patience=plan.lease + 6)
        await here.workers.stop()
        await here.check(peaceful=True)
        await _figures(here, fed=feeding.result(), kills=done)


async def _figures(here: Site, *, fed: int, kills: int) -> None:
    report, limit = here.run.report, here.plan.lease + 5
    rows = await here.pool.fetch(_RECLAIMS)
    reclaims = [row[1] for row in rows]
    report.figure("jobs", fed)
    report.figure("kills", kills)
    report.figure("attempts lost and claimed again", len(reclaims))
    report.figure("kill to rescue, median", quantile([row[0] for row in rows], 0.5), "s")
    report.figure("kill to next claim, median", quantile(reclaims, 0.5), "s")
    report.figure("kill to next claim, p99", quantile(reclaims, 0.99), "s", at_most=limit)
    report.figure("attempts lost without a kill", await here.pool.fetchval(_UNCAUSED))
    quarantined = "SELECT count(*) FROM analysis_jobs WHERE error_code = 'CRASHED_WORKER'"
    report.figure("jobs that met three kills", await here.pool.fetchval(quarantined))
    failed = "SELECT count(*) FROM analysis_jobs WHERE status <> 'completed' AND crash_count < 3"
    report.figure("other jobs not completed", await here.pool.fetchval(failed), at_most=0)
    report.figure("tracebacks in logs", here.tracebacks(), at_most=0)
