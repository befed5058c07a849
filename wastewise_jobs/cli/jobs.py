"""`jobs list|show|cancel|retry`: looking at jobs of the service, and two things to do to them."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import typer

from wastewise_jobs.cli.options import AsJson, JobIdArgument, Token, TokenFile, Url

if TYPE_CHECKING:
    from wastewise_jobs.client import Client
    from wastewise_jobs.wire.jobs import JobList

T = TypeVar("T")

app = typer.Typer(help="Look at jobs, cancel them, send failed ones round again.")
_STATUSES = "pending, processing, completed, failed or cancelled"


@app.command("list")
def list_jobs(
    *,
    status: Annotated[list[str] | None, typer.Option(help=f"{_STATUSES}; may be repeated.")] = None,
    job_type: Annotated[str | None, typer.Option("--type", help="Only this job type.")] = None,
    project: Annotated[UUID | None, typer.Option(help="Only this project's jobs.")] = None,
    user: Annotated[UUID | None, typer.Option(help="Only this user's jobs (admins).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Go on after an earlier page.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    token_file: TokenFile = None,
) -> None:
    """The newest jobs."""

    async def ask(client: "Client") -> "JobList":
        return await client.jobs(
            statuses=[value.lower() for value in status or ()],
            job_type=job_type.lower() if job_type else None,
            project_id=project,
            user_id=user,
            limit=limit,
            cursor=cursor,
        )

    page = _call(ask, url, token, token_file)
    if as_json:
        typer.echo(page.model_dump_json(by_alias=True))
        return
    if not page.jobs:
        typer.echo("no jobs", err=True)
        return
    from wastewise_jobs.cli.console import stdout
    from wastewise_jobs.cli.summary import jobs_table

    console = stdout()
    console.print(jobs_table(page.jobs, width=console.width))
    if page.pagination.has_more:
        typer.echo(f"more: --cursor {page.pagination.next_cursor}", err=True)


@app.command()
def show(
    job_id: JobIdArgument,
    *,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    token_file: TokenFile = None,
) -> None:
    """Everything about one job."""
    from wastewise_jobs.cli.submit import print_job

    print_job(_call(lambda client: client.job(job_id), url, token, token_file), as_json=as_json)


@app.command()
def cancel(
    job_id: JobIdArgument,
    *,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    token_file: TokenFile = None,
) -> None:
    """Cancel a job; one that is running is asked to stop."""
    answer = _call(lambda client: client.cancel(job_id), url, token, token_file)
    typer.echo(answer.model_dump_json(by_alias=True) if as_json else answer.message)


@app.command()
def retry(
    job_id: JobIdArgument,
    *,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    token_file: TokenFile = None,
) -> None:
    """Send a failed job round again; its error log stays."""
    answer = _call(lambda client: client.retry(job_id), url, token, token_file)
    typer.echo(answer.model_dump_json(by_alias=True) if as_json else answer.message)


def _call(
    ask: "Callable[[Client], Awaitable[T]]",
    url: str | None,
    token: str | None,
    token_file: Path | None,
) -> T:
    from wastewise_jobs.cli.credentials import find_target
    from wastewise_jobs.cli.running import run
    from wastewise_jobs.client import Client

    target = find_target(url, token, token_file)
    if target.note:
        typer.echo(target.note, err=True)

    async def asked() -> T:
        async with Client(target.url, target.token) as client:
            return await ask(client)

    return run(asked())
