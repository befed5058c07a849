"""`submit` and `watch`: from files on this machine to a finished job on the service."""

import asyncio
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from wastewise_jobs.cli.options import AsJson, JobIdArgument, Report, Token, TokenFile, Url

if TYPE_CHECKING:
    from wastewise_jobs.cli.credentials import Target
    from wastewise_jobs.client import Client, ClientError
    from wastewise_jobs.wire.jobs import AnalyzeAnswer, JobAnswer
    from wastewise_jobs.wire.projects import ProjectRequest

_PROPERTY = "Property: makes a new project (name, units, city, state and equipment together)"
_READING = "Reading the files, where they leave it open"
_LIMITS = "Job"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has been read and may be sent."""

    name: str
    content: bytes
    file_type: Literal["invoice", "haul_log"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is to be done, checked before anything is."""

    job_type: str
    project_id: UUID | None
    project: "ProjectRequest | None"
    uploads: tuple[Upload, ...]
    options: dict[str, Any]


def submit(
    job_type: Annotated[
        str,
        typer.Argument(metavar="JOB_TYPE", help="For example complete_analysis, in any case."),
    ],
    *,
    project: Annotated[UUID | None, typer.Option(help="An existing project.")] = None,
    property_name: Annotated[
        str | None, typer.Option("--property", help="Its name.", rich_help_panel=_PROPERTY)
    ] = None,
    units: Annotated[
        int | None, typer.Option(help="Apartments, 10 to 2000.", rich_help_panel=_PROPERTY)
    ] = None,
    city: Annotated[
        str | None, typer.Option(help="Where it is.", rich_help_panel=_PROPERTY)
    ] = None,
    state: Annotated[
        str | None, typer.Option(help="For example TX.", rich_help_panel=_PROPERTY)
    ] = None,
    property_type: Annotated[
        str | None,
        typer.Option(help="Garden-Style, Mid-Rise or High-Rise.", rich_help_panel=_PROPERTY),
    ] = None,
    equipment: Annotated[
        str | None,
        typer.Option(help="Compactor, dumpster or mixed.", rich_help_panel=_PROPERTY),
    ] = None,
    containers: Annotated[
        int | None, typer.Option(help="How many dumpsters.", rich_help_panel=_PROPERTY)
    ] = None,
    container_yards: Annotated[
        float | None, typer.Option(help="Cubic yards of each.", rich_help_panel=_PROPERTY)
    ] = None,
    pickups_per_week: Annotated[
        float | None, typer.Option(help="Of each dumpster.", rich_help_panel=_PROPERTY)
    ] = None,
    invoices: Annotated[
        list[Path] | None, typer.Option(metavar="FILE...", help="CSV or XLSX; several may follow.")
    ] = None,
    haul_log: Annotated[
        list[Path] | None, typer.Option(metavar="FILE...", help="CSV or XLSX; several may follow.")
    ] = None,
    input_data: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON", help="The job's input as an object, or @FILE."),
    ] = None,
    date_order: Annotated[
        Literal["mdy", "dmy", "ymd"] | None,
        typer.Option(help="Of dates like 05/02/2025.", rich_help_panel=_READING),
    ] = None,
    decimal: Annotated[
        Literal[".", ","] | None,
        typer.Option(help="The decimal mark of numbers.", rich_help_panel=_READING),
    ] = None,
    location: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Only its rows, as a warning names it; repeatable.",
            rich_help_panel=_READING,
        ),
    ] = None,
    priority: Annotated[
        int | None, typer.Option(help="1 (first) to 10.", rich_help_panel=_LIMITS)
    ] = None,
    max_retries: Annotated[
        int | None, typer.Option(help="Attempts after the first.", rich_help_panel=_LIMITS)
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds that a run may take.", rich_help_panel=_LIMITS)
    ] = None,
    run_at: Annotated[
        str | None,
        typer.Option(
            help="Not before: a time with offset, or 15m from now.", rich_help_panel=_LIMITS
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Idempotency key: repeating makes no second job (with a time in --run-at)."
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Wait and show the progress.")] = False,
    report: Report = None,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    token_file: TokenFile = None,
) -> None:
    """Send a job to the service, with a new property and its files if you like.

    The job belongs to --project, or to a new one that --property and its like describe.
    """
    from wastewise_jobs.cli.arguments import point_in_time
    from wastewise_jobs.cli.credentials import find_target
    from wastewise_jobs.cli.reports import check_folder
    from wastewise_jobs.cli.running import run

    property_options: dict[str, Any] = {
        "property_name": property_name,
        "units": units,
        "city": city,
        "state": state,
        "property_type": property_type,
        "equipment_type": equipment,
        "containers": containers,
        "container_yards": container_yards,
        "pickups_per_week": pickups_per_week,
    }
    reading = {"dateOrder": date_order, "decimal": decimal, "locations": location}
    plan = Plan(
        job_type=job_type.strip().lower(),
        project_id=project,
        project=_new_project(project, property_options),
        uploads=_uploads(invoices or [], haul_log or []),
        options={
            "input_data": _input(input_data, reading),
            "priority": priority,
            "max_retries": max_retries,
            "timeout_seconds": timeout,
            "run_at": point_in_time(run_at, "--run-at"),
        },
    )
    _check(plan, key=key)
    check_folder(report)
    target = find_target(url, token, token_file)
    _note(target.note)
    ok = run(_submit(target, plan, key=key, watched=watch, report=report, as_json=as_json))
    raise typer.Exit(0 if ok else 1)


def watch(
    job_id: JobIdArgument,
    *,
    report: Report = None,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    token_file: TokenFile = None,
) -> None:
    """Follow a job until it has finished."""
    from wastewise_jobs.cli.credentials import find_target
    from wastewise_jobs.cli.reports import check_folder
    from wastewise_jobs.cli.running import run

    check_folder(report)
    target = find_target(url, token, token_file)
    _note(target.note)
    ok = run(_watch(target, job_id, report=report, as_json=as_json))
    raise typer.Exit(0 if ok else 1)


def _input(given: str | None, reading: dict[str, Any]) -> dict[str, Any]:
    """The job's input, with what the options say about reading the files."""
    from wastewise_jobs.cli.arguments import json_object
    from wastewise_jobs.errors import InvalidInputError

    document = json_object(given, "--input") if given else {}
    told = {name: value for name, value in reading.items() if value}
    if twice := sorted(document.keys() & told.keys()):
        raise InvalidInputError("--input", f"{twice[0]} is given by an option too; say it once")
    return {**document, **told}


def _new_project(project: UUID | None, options: dict[str, Any]) -> "ProjectRequest | None":
    from wastewise_jobs.cli.arguments import checked
    from wastewise_jobs.errors import InvalidInputError
    from wastewise_jobs.wire.projects import ProjectRequest

    given = {name: value for name, value in options.items() if value is not None}
    if not given:
        return None
    if project is not None:
        raise InvalidInputError("--project", "names a project; leave out what describes a new one")
    return checked(ProjectRequest, **given)


def _uploads(invoices: list[Path], haul_logs: list[Path]) -> tuple[Upload, ...]:
    from wastewise_jobs.cli.arguments import read_file
    from wastewise_jobs.errors import InvalidInputError
    from wastewise_jobs.wire.projects import MAX_FILE_BYTES

    uploads: dict[str, Upload] = {}
    for option, file_type, paths in (
        ("--invoices", "invoice", invoices),
        ("--haul-log", "haul_log", haul_logs),
    ):
        for path in paths:
            content = read_file(path, option, MAX_FILE_BYTES)
            if not content:
                raise InvalidInputError(option, f"{path} is empty")
            name = _name_of(path, option)
            if name in uploads:
                raise InvalidInputError(option, f"two files are named {name}")
            uploads[name] = Upload(name, content, file_type)  # type: ignore[arg-type]
    return tuple(uploads.values())


def _name_of(path: Path, option: str) -> str:
    from wastewise_jobs.errors import InvalidInputError

    name = unicodedata.normalize("NFC", path.name)
    strange = any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in name)
    if strange or name != name.strip() or "\\" in name:
        problem = f"{name!r} is no name that the service takes: rename the file"
        raise InvalidInputError(option, problem)
    return name


def _check(plan: Plan, *, key: str | None) -> None:
    from wastewise_jobs.cli.arguments import checked
    from wastewise_jobs.errors import InvalidInputError
    from wastewise_jobs.wire.jobs import AnalyzeRequest

    if key is not None and plan.project is not None:
        raise InvalidInputError("--key", "needs --project: each new project is another request")
    if plan.uploads and plan.project is None and plan.project_id is None:
        raise InvalidInputError("--property", "files need a project: --property ..., or --project")
    checked(AnalyzeRequest, job_type=plan.job_type, **plan.options, idempotency_key=key)


async def _submit(
    target: "Target",
    plan: Plan,
    *,
    key: str | None,
    watched: bool,
    report: Path | None,
    as_json: bool,
) -> bool:
    from wastewise_jobs.client import Client, ClientError

    async with Client(target.url, target.token) as client:
        project_id = plan.project_id
        if plan.project is not None:
            project_id = (await client.create_project(plan.project)).id
        try:
            if project_id is not None:
                await _upload(client, project_id, plan.uploads)
            answer = await client.submit(
                plan.job_type, project_id=project_id, idempotency_key=key, **plan.options
            )
        except ClientError as error:
            if plan.project is not None and project_id is not None:
                await _clean_up(client, project_id, error)
            raise
        if not watched and report is None:
            _print_submitted(target, answer, project_id, as_json=as_json)
            return True
        _note(f"job {answer.job_id}")
        return await _finish(client, target, answer.job_id, report=report, as_json=as_json)


async def _upload(client: "Client", project_id: UUID, uploads: Sequence[Upload]) -> None:
    for upload in uploads:
        await client.upload_file(
            project_id, upload.name, upload.content, file_type=upload.file_type
        )


async def _clean_up(client: "Client", project_id: UUID, error: "ClientError") -> None:
    """Leave no project behind for a job that was refused; after a lost answer there may be one."""
    from wastewise_jobs.client import ClientError, ProblemError

    if isinstance(error, ProblemError):
        try:
            await client.delete_project(project_id)
        except ClientError:
            pass
        else:
            return
    _note(f"the project was created: go on with --project {project_id}")


async def _watch(target: "Target", job_id: UUID, *, report: Path | None, as_json: bool) -> bool:
    from wastewise_jobs.client import Client

    async with Client(target.url, target.token) as client:
        # Following is patient; a wrong address should be told at once.
        await client.job(job_id)
        return await _finish(client, target, job_id, report=report, as_json=as_json)


async def _finish(
    client: "Client", target: "Target", job_id: UUID, *, report: Path | None, as_json: bool
) -> bool:
    """Follow the job to its end and show it; whether it completed."""
    from wastewise_jobs.cli.follow import follow
    from wastewise_jobs.cli.reports import save_reports
    from wastewise_jobs.client import ServiceUnreachableError

    try:
        job = await follow(client, job_id)
    except (ServiceUnreachableError, asyncio.CancelledError):
        _note(f"the job is not affected; follow it with: {target.to_type('watch', str(job_id))}")
        raise
    print_job(job, as_json=as_json)
    if job.status != "completed":
        return False
    if report is not None:
        for path in await save_reports(client, job_id, report):
            _note(f"saved {path}")
    return True


def print_job(job: "JobAnswer", *, as_json: bool) -> None:
    """The job on stdout, for a program or for a person."""
    if as_json:
        typer.echo(job.model_dump_json(by_alias=True))
        return
    from wastewise_jobs.cli.console import stdout
    from wastewise_jobs.cli.summary import job_details

    stdout().print(job_details(job))


def _print_submitted(
    target: "Target", answer: "AnalyzeAnswer", project_id: UUID | None, *, as_json: bool
) -> None:
    if as_json:
        import orjson

        body = answer.model_dump(mode="json", by_alias=True)
        body["projectId"] = str(project_id) if project_id else None
        typer.echo(orjson.dumps(body))
        return
    typer.echo(f"job {answer.job_id} {answer.status}, priority {answer.priority}")
    if project_id:
        typer.echo(f"project {project_id}")
    typer.echo(f"follow it with: {target.to_type('watch', str(answer.job_id))}")


def _note(text: str | None) -> None:
    if text:
        typer.echo(text, err=True)
