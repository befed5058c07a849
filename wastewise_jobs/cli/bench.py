"""`bench`: how fast this machine and its PostgreSQL enqueue, run and settle jobs."""

from typing import Annotated

import typer

from wastewise_jobs.cli.options import AsJson


def bench(
    *,
    jobs: Annotated[int, typer.Option(min=100, max=1_000_000, help="How many jobs.")] = 20_000,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Slots (WORKER_CONCURRENCY).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure jobs per second with handlers that do nothing, in a throw-away database."""
    from wastewise_jobs.cli.measuring import BATCH, measure
    from wastewise_jobs.cli.running import run
    from wastewise_jobs.cli.start import start

    settings = start(quiet=True, worker_concurrency=concurrency)
    measured = run(measure(settings, jobs), loop=settings.wastewise_loop)
    if as_json:
        import orjson

        typer.echo(orjson.dumps(measured))
        return
    typer.echo(
        f"enqueue   {measured.enqueued_per_second:,.0f} jobs/s, {BATCH} in a statement\n"
        f"run       {measured.run_per_second:,.0f} jobs/s: claimed, run in an asyncio task each,"
        " completed\n"
        f"lone job  {measured.lone_job_median_milliseconds:.1f} ms from enqueue to completed"
        f" (p95 {measured.lone_job_p95_milliseconds:.1f} ms), one at a time\n"
        f"\n{measured.jobs:,} jobs, one worker with {measured.concurrency} slots,"
        f" {settings.wastewise_loop}; the client and, if it is the embedded one, the server share"
        " this machine"
    )
