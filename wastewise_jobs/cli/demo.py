"""`demo`: everything at once, on a sample property, over the same HTTP that anybody would use."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from wastewise_jobs.client import Client
    from wastewise_jobs.service.shutdown import Stop
    from wastewise_jobs.settings import Settings
    from wastewise_jobs.web.http.server import Address
    from wastewise_jobs.wire.jobs import JobAnswer


def demo(
    *,
    leave: Annotated[
        bool, typer.Option("--exit", help="End when the analysis is shown, do not stay up.")
    ] = False,
    report: Annotated[
        Path, typer.Option("--report", metavar="DIR", help="Where to save the reports.")
    ] = Path("wastewise-report"),
    port: Annotated[
        int | None, typer.Option(help="Port of the API; any free one if it is taken (PORT).")
    ] = None,
) -> None:
    """Start PostgreSQL, the API and a worker, and analyse a sample property.

    The service stays up until Ctrl-C, so that you can look around and submit files of your own.
    """
    from wastewise_jobs.cli.reports import check_folder
    from wastewise_jobs.cli.running import run
    from wastewise_jobs.cli.start import start
    from wastewise_jobs.service.shutdown import Stop

    settings = start(port=port, quiet=True)
    check_folder(report)
    stop = Stop(settings.shutdown_grace_seconds)
    try:
        completed = run(
            _Demo(settings, stop, report, leave=leave).run(),
            loop=settings.wastewise_loop,
            stop=stop,
        )
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(0 if completed else 1)


class _Demo:
    """The service in the background, and a client that tells the story in front."""

    def __init__(self, settings: "Settings", stop: "Stop", folder: Path, *, leave: bool) -> None:
        from wastewise_jobs.cli.console import stdout

        self._settings = settings
        self._stop = stop
        self._folder = folder
        self._leave = leave
        self._console: Console = stdout()
        self._began = time.monotonic()

    async def run(self) -> bool:
        """Whether the analysis completed; ends with the service."""
        from wastewise_jobs.service.parts import Parts
        from wastewise_jobs.service.process import run_service

        up: asyncio.Future[Address] = asyncio.get_running_loop().create_future()

        def on_up(address: "Address | None") -> None:
            if address is not None:
                up.set_result(address)

        parts = Parts(api=True, worker=True, or_any_port=True)
        service = asyncio.create_task(
            run_service(self._settings, parts, stop=self._stop, on_up=on_up), name="service"
        )
        try:
            waiting: set[asyncio.Future[Any]] = {service, up}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not up.done():
                await service
                return False
            return await self._beside(service, up.result())
        finally:
            service.cancel()
            await asyncio.wait({service})

    async def _beside(self, service: "asyncio.Task[None]", address: "Address") -> bool:
        story = asyncio.create_task(self._story(address), name="demo")
        try:
            await asyncio.wait({service, story}, return_when=asyncio.FIRST_COMPLETED)
            if not story.done():
                # Ctrl-C, or the service broke: then this says why.
                await service
                return False
            completed = await story
            if self._leave:
                self._stop.asked.set()
            await service
            return completed
        finally:
            story.cancel()
            await asyncio.wait({story})

    async def _story(self, address: "Address") -> bool:
        from wastewise_jobs.client import Client

        seconds = time.monotonic() - self._began
        where = "PostgreSQL, API and worker" if self._settings.embedded else "API and worker"
        self._say(f"{where} are up after {seconds:.1f} s: [bold]{address.url}[/bold]")
        async with Client(address.url, self._token()) as client:
            job_id = await self._submit(client)
            job = await self._follow(client, job_id)
            self._addresses(address, job_id)
        return job.status == "completed"

    def _token(self) -> str:
        from wastewise_jobs.cli.credentials import LOCAL_USER, make_token
        from wastewise_jobs.errors import ConfigurationError
        from wastewise_jobs.settings import generated_secret

        settings = self._settings
        if settings.jwt_secret is None and settings.jwt_jwks_url:
            raise ConfigurationError("JWT_JWKS_URL", "the demo cannot make tokens for it: unset it")
        secret = settings.jwt_secret or generated_secret(settings.wastewise_home)
        return make_token(
            secret.get_secret_value(),
            user=LOCAL_USER,
            lifetime_seconds=3600,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
        )

    async def _submit(self, client: "Client") -> UUID:
        from wastewise_jobs.analysis.sample import sample_files, sample_property
        from wastewise_jobs.client import checked
        from wastewise_jobs.wire.projects import ProjectRequest

        facts, files = sample_property(), sample_files()
        project = await client.create_project(
            checked(
                ProjectRequest,
                property_name=facts.name,
                units=facts.units,
                city=facts.city,
                state=facts.state,
                property_type=facts.property_type,
                equipment_type=facts.equipment_type,
            )
        )
        for file in files:
            await client.upload_file(project.id, file.name, file.content)
        self._say(f"{facts.name}, {facts.units} apartments: {len(files)} files uploaded")
        return (await client.submit("complete_analysis", project_id=project.id)).job_id

    async def _follow(self, client: "Client", job_id: UUID) -> "JobAnswer":
        from wastewise_jobs.cli.follow import follow
        from wastewise_jobs.cli.reports import save_reports
        from wastewise_jobs.cli.summary import analysis_summary, job_details

        job = await follow(client, job_id)
        self._say("")
        if job.status != "completed":
            self._console.print(job_details(job))
            return job
        self._console.print(analysis_summary(job.result) or job_details(job))
        self._say("\n[bold]Reports[/bold]")
        for path in await save_reports(client, job_id, self._folder):
            self._say(f"  {path}")
        return job

    def _addresses(self, address: "Address", job_id: UUID) -> None:
        if self._leave:
            return
        from wastewise_jobs.cli.console import called_as
        from wastewise_jobs.cli.credentials import LOCAL_USER

        program = called_as()
        self._say(
            "\n[bold]Look around[/bold]\n"
            f"  API    {address.url}\n"
            f"  Docs   {address.url}/docs\n"
            f"  Token  export TOKEN=$({program} token --user {LOCAL_USER})\n"
            f'  Ask    curl -H "Authorization: Bearer $TOKEN" {address.url}/api/jobs/{job_id}\n'
            f"  Jobs   WASTEWISE_URL={address.url} {program} jobs list\n"
            "\nCtrl-C stops it."
        )

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)
