"""Jobs that take many leases, in workers that nobody harms: each runs once."""

import asyncio

from benchmarks.chaos.site import Plan, Run, site


async def lease(run: Run) -> None:
    """Long jobs in the loop, in threads, and some that block the loop of their worker."""
    each = run.size(short=4, long=60)
    plan = Plan(workers=2, lease=1.2, heartbeat=0.3, poll=0.5, threads=4)
    seconds = 3 * plan.lease
    run.report.method = (
        f"{plan.workers} workers, lease {plan.lease:g} s, jobs of {seconds:g} s: {each} that wait, "
        f"{each} in threads, {max(1, each // 4)} that block the loop; nobody is killed"
    )
    async with site(run, plan) as here:
        async with asyncio.TaskGroup() as group:
            for number in range(each):
                group.create_task(here.clients.enqueue("work", seconds=seconds))
                group.create_task(here.clients.enqueue("in_thread", seconds=seconds))
                if number % 4 == 0:
                    group.create_task(here.clients.enqueue("block", seconds=seconds))
        await here.drained(patience=seconds + plan.lease + 6)
        await here.workers.stop()
        await here.check(peaceful=True)
        again = "SELECT count(*) - count(DISTINCT job_id) FROM chaos.runs"
        # A claim whose answer a blocked loop hears too late is given back, and nobody ran it.
        unheard = "SELECT count(*) FROM chaos.attempts WHERE outcome = 'pending'"
        run.report.figure("jobs", len(here.clients.acks))
        run.report.figure("claims heard too late", await here.pool.fetchval(unheard))
        run.report.figure("jobs run more than once", await here.pool.fetchval(again), at_most=0)
        run.report.figure("tracebacks in logs", here.tracebacks(), at_most=0)
