"""Shows a job while it runs: a live bar on a terminal, a line per step elsewhere. On stderr."""

from typing import Self
from uuid import UUID

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from wastewise_jobs.cli.text import plain
from wastewise_jobs.client import FINISHED, Client
from wastewise_jobs.wire.jobs import JobAnswer


async def follow(client: Client, job_id: UUID) -> JobAnswer:
    """The finished job; what happens until then is shown."""
    console = Console(stderr=True)
    last: JobAnswer | None = None
    with _Bar(console) if console.is_terminal else _Lines() as display:
        async for job in client.events(job_id, on_break=display.broken):
            display.show(job)
            last = job
    return last if last is not None else await client.finished_job(job_id)


class _Bar:
    """One bar with the step's name, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[step]}"),
            console=console,
        )
        self._line = self._progress.add_task("job", total=100, step="waiting for a worker")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, job: JobAnswer) -> None:
        self._progress.update(
            self._line,
            description=escape(plain(job.job_type)),
            completed=100 if job.status == "completed" else job.progress.percent,
            step=escape(situation(job)),
        )

    def broken(self, reason: str) -> None:
        self._progress.update(self._line, step=escape(_broken(reason)))


class _Lines:
    """A line whenever the step or the status changes."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, job: JobAnswer) -> None:
        self._say(f"{job.progress.percent:>3}%  {situation(job)}", about=situation(job))

    def broken(self, reason: str) -> None:
        self._say(_broken(reason), about="broken")

    def _say(self, line: str, *, about: str) -> None:
        if about != self._said:
            self._said = about
            self._console.print(line, markup=False)


def _broken(reason: str) -> str:
    return f"no answer ({plain(reason)}), trying again"


def situation(job: JobAnswer) -> str:
    """Where the job stands, in a few words."""
    if job.status in FINISHED:
        return job.status
    if job.status == "processing":
        return plain(job.progress.current_step or "running")
    if job.timing.retry_after is not None and job.error is not None:
        at = job.timing.retry_after.astimezone().strftime("%H:%M:%S")
        attempt = job.retry_info.retry_count + 1
        of = job.retry_info.max_retries + 1
        return f"attempt {attempt} of {of} at {at}, after: {plain(job.error.message)}"
    if job.timing.retry_after is not None:
        return f"waits until {job.timing.retry_after.astimezone():%Y-%m-%d %H:%M:%S}"
    return "waiting for a worker"
