"""SIGSTOP for 2 to 5 leases, then SIGCONT: workers that come back and believe nothing happened."""

import asyncio
import signal

from benchmarks.chaos import load
from benchmarks.chaos.site import Plan, Run, Site, site, wait_until

_PATIENCE_SECONDS = 60.0
# What a rescue waits beyond the lease; much against these leases, little against real ones.
_LAST_CALL_SECONDS = 2.0

# Attempts whose lease was taken while their process could do nothing about it.
_TAKEN = """
SELECT a.process, a.job_id::text, a.fence, r.ended IS NOT NULL AS reached_end
FROM chaos.faults f
JOIN chaos.attempts a
    ON a.process = f.process AND a.began < f.at AND a.ended BETWEEN f.at AND f.until
   AND a.crashed_after > 0
LEFT JOIN chaos.runs r USING (job_id, fence)
"""


async def stop(run: Run) -> None:
    """Freeze all workers but one, each again and again, for longer than their leases."""
    stops = max(2, run.size(short=4, long=100))
    plan = Plan(
        workers=6 if run.long else 3,
        lease=1.5 if run.long else 1.0,
        heartbeat=0.5 if run.long else 0.3,
        poll=0.5,
    )
    frozen = [f"w{number}" for number in range(1, plan.workers)]
    schedule: dict[str, list[tuple[float, float]]] = {slot: [] for slot in frozen}
    for number in range(stops):
        leases = plan.lease * run.chance.uniform(2, 5)
        fault = (run.chance.uniform(0.2, 1.0), leases + _LAST_CALL_SECONDS)
        schedule[frozen[number % len(frozen)]].append(fault)
    run.report.method = (
        f"{plan.workers} workers, lease {plan.lease:g} s; all but one are frozen for 2 to 5 "
        "leases and 2 s, again and again, each time while at work"
    )
    async with site(run, plan) as here:
        left = len(frozen)

        async def freeze_again_and_again(slot: str) -> None:
            nonlocal left
            for wait, length in schedule[slot]:
                await asyncio.sleep(wait)
                await _freeze(here, slot, length)
            left -= 1

        async with asyncio.TaskGroup() as group:
            for slot in frozen:
                group.create_task(freeze_again_and_again(slot))
            feeding = group.create_task(
                load.keep_busy(
                    here,
                    backlog=2 * plan.workers * plan.concurrency,
                    # So long that somebody else is at the job when the frozen worker comes back.
                    mean_seconds=2.0,
                    enough=lambda _: left == 0,
                )
            )
        await here.drained(patience=plan.lease + 8)
        await here.workers.stop()
        await here.check(peaceful=False)
        await _figures(here, fed=feeding.result(), stops=stops)


async def _freeze(here: Site, slot: str, length: float) -> None:
    member = here.workers.members[slot]
    await wait_until(lambda: here.at_work(member), within=_PATIENCE_SECONDS, every=0.01)
    fault = here.harm(member, signal.SIGSTOP)
    await asyncio.sleep(length)
    fault.over()
    member.send(signal.SIGCONT)


async def _figures(here: Site, *, fed: int, stops: int) -> None:
    report = here.run.report
    taken = await here.pool.fetch(_TAKEN)
    told = {
        (member.name, line["job_id"], line["fence"])
        for member in here.workers.everybody
        for line in member.events("job_lease_lost")
    }
    told |= {
        (member.name, job_id, fence)
        for member in here.workers.everybody
        for line in member.events("jobs_lease_lost")
        for job_id, fence in zip(line["job_ids"], line["fences"], strict=True)
    }
    unseen = [row for row in taken if (row[0], row[1], row[2]) not in told]
    report.figure("jobs", fed)
    report.figure("stops", stops)
    report.figure("attempts whose lease was taken meanwhile", len(taken), at_least=1)
    report.figure("of them ran to their end", sum(row["reached_end"] for row in taken))
    report.figure("of them not noticed by their worker", len(unseen), at_most=0)
    failed = "SELECT count(*) FROM analysis_jobs WHERE status <> 'completed' AND crash_count < 3"
    report.figure("other jobs not completed", await here.pool.fetchval(failed), at_most=0)
    report.figure("tracebacks in logs", here.tracebacks(), at_most=0)
