"""`serve`, `api`, `worker`: the service in one process, or its two halves in processes apart."""

import re
import sys
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from wastewise_jobs.handlers.registry import Jobs
    from wastewise_jobs.service.parts import Parts
    from wastewise_jobs.settings import Settings
    from wastewise_jobs.web.http.server import Address

_QUEUE = re.compile(r"([^:\s]+)(?::([1-9][0-9]{0,4}))?")

Host = Annotated[str | None, typer.Option(help="Address to listen on (HOST).")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 is any (PORT).")]
App = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE:JOBS", help="Your own handlers: a Jobs registry."),
]
Builtin = Annotated[
    bool, typer.Option("--builtin/--no-builtin", help="Carry the built-in job types.")
]
Queues = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:SLOTS],...",
        help="Only these queues, for example default:10,reports:2.",
    ),
]
Concurrency = Annotated[
    int | None, typer.Option(help="Jobs at once on the event loop (WORKER_CONCURRENCY).")
]


def serve(
    *,
    host: Host = None,
    port: Port = None,
    app: App = None,
    builtin: Builtin = True,
    queues: Queues = None,
    concurrency: Concurrency = None,
) -> None:
    """Run the API and a worker in this process, with a PostgreSQL of our own if need be.

    The first Ctrl-C or SIGTERM lets running jobs end, the second one does not wait.
    """
    parts = _parts(api=True, app=app, builtin=builtin, queues=queues)
    _run(parts, host=host, port=port, worker_concurrency=concurrency)


def api(*, host: Host = None, port: Port = None) -> None:
    """Run the HTTP API alone; it validates by what workers have registered."""
    from wastewise_jobs.service.parts import Parts

    _run(Parts(api=True, worker=False), host=host, port=port)


def worker(
    *,
    app: App = None,
    builtin: Builtin = True,
    queues: Queues = None,
    concurrency: Concurrency = None,
    name: Annotated[str | None, typer.Option(help="Shown for it (WORKER_NAME).")] = None,
) -> None:
    """Run jobs; as many of these as you like, on any number of hosts.

    The first Ctrl-C or SIGTERM lets running jobs end, the second one does not wait.
    """
    parts = _parts(api=False, app=app, builtin=builtin, queues=queues)
    _run(parts, worker_concurrency=concurrency, worker_name=name)


def _parts(*, api: bool, app: str | None, builtin: bool, queues: str | None) -> "Parts":
    from wastewise_jobs.errors import InvalidInputError
    from wastewise_jobs.service.parts import Parts

    app_jobs = _load(app)
    if not builtin and not app_jobs:
        raise InvalidInputError("--no-builtin", "leaves nothing to run; give --app")
    return Parts(api=api, worker=True, builtin=builtin, app_jobs=app_jobs, queues=_queues(queues))


def _run(parts: "Parts", **flags: Any) -> None:  # noqa: ANN401 - any field's value
    from wastewise_jobs.cli.start import start

    settings = start(**flags)
    run_until_stopped(settings, parts, on_up=_announce if parts.api else None)


def run_until_stopped(
    settings: "Settings", parts: "Parts", *, on_up: "Callable[[Address | None], None] | None"
) -> None:
    """Run the service; being asked to stop is a good end, also during the start."""
    from wastewise_jobs.cli.running import run
    from wastewise_jobs.service.process import run_service
    from wastewise_jobs.service.shutdown import Stop

    stop = Stop(settings.shutdown_grace_seconds)
    try:
        run(
            run_service(settings, parts, stop=stop, on_up=on_up),
            loop=settings.wastewise_loop,
            stop=stop,
        )
    except KeyboardInterrupt:
        if not stop.signalled:
            raise
        raise typer.Exit(0) from None


def _announce(address: "Address | None") -> None:
    """For whoever started it at a terminal; the log says it to everybody else."""
    if address is None or not sys.stderr.isatty():
        return
    from wastewise_jobs.cli.console import called_as

    typer.echo(
        f"\n  API    {address.url}\n  Docs   {address.url}/docs\n"
        f"  Token  {called_as()} token --user UUID\n  Stop   Ctrl-C\n",
        err=True,
    )


def _load(name: str | None) -> "Jobs | None":
    """The Jobs registry that `module:attribute` names, seen from the current folder."""
    if name is None:
        return None
    from importlib import import_module

    from wastewise_jobs.errors import InvalidInputError
    from wastewise_jobs.handlers.registry import Jobs

    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise InvalidInputError("--app", f"{name!r} is not of the form module:jobs")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except (Exception, SystemExit) as error:
        # Somebody else's module may raise anything; --debug shows all of it.
        raise InvalidInputError("--app", _why_not_imported(module_name, error)) from error
    if not hasattr(module, attribute):
        raise InvalidInputError("--app", f"{module_name} has no {attribute}")
    jobs = getattr(module, attribute)
    if not isinstance(jobs, Jobs):
        problem = f"{name} is no Jobs registry but of the type {type(jobs).__name__}"
        raise InvalidInputError("--app", problem)
    if not jobs:
        raise InvalidInputError("--app", f"{name} has no handlers")
    return jobs


def _why_not_imported(module_name: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
        return f"there is no module {error.name} here ({Path.cwd()}), nor is one installed"
    said = " ".join(f"{type(error).__name__}: {error}".split())
    lines = [
        f" ({Path(frame.filename).name}, line {frame.lineno})"
        for frame in extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(Path.cwd())
    ]
    # A SyntaxError names its line itself.
    where = lines[-1] if lines and not isinstance(error, SyntaxError) else ""
    return f"{module_name} cannot be imported: {said}{where}"


def _queues(text: str | None) -> dict[str, int | None] | None:
    """`default:10,reports` as {"default": 10, "reports": None}: no limit of its own."""
    if text is None:
        return None
    from wastewise_jobs.errors import InvalidInputError

    queues: dict[str, int | None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _QUEUE.fullmatch(part)
        if match is None:
            raise InvalidInputError("--queues", f"{part!r} is not of the form name or name:slots")
        name, slots = match.groups()
        if name in queues:
            raise InvalidInputError("--queues", f"names {name} twice")
        queues[name] = int(slots) if slots else None
    if not queues:
        raise InvalidInputError("--queues", "names no queue")
    return queues
