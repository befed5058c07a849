"""All commands put together, and the one place where an error becomes a line and an exit code."""

import codecs
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from wastewise_jobs.cli import (
    alerts,
    bench,
    demo,
    doctor,
    jobs,
    keys,
    migrate,
    psql,
    serve,
    status,
    submit,
    token,
)
from wastewise_jobs.cli.arguments import spread_files

app = typer.Typer(
    name="wastewise-jobs",
    help="A job service on PostgreSQL that runs WasteWise's waste-cost analyses.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo.demo)
app.command()(serve.serve)
app.command()(serve.api)
app.command()(serve.worker)
app.command()(submit.submit)
app.command()(submit.watch)
app.add_typer(jobs.app, name="jobs")
app.command()(migrate.migrate)
app.command()(token.token)
app.add_typer(keys.app, name="keys")
app.add_typer(alerts.app, name="alerts")
app.command()(doctor.doctor)
app.command()(status.status)
# What is meant for psql is not looked at here.
app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(
    psql.psql
)
app.command()(bench.bench)


@app.callback()
def common(
    *,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log everything, and show tracebacks.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda wanted: _print_version() if wanted else None,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Settings come from the environment and from .env; see .env.template."""
    if debug:
        os.environ["LOG_LEVEL"] = "DEBUG"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; always ends by SystemExit."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _make_output_safe()
    if "--debug" in arguments:
        # Whoever was told to add it adds it at the end.
        arguments = ["--debug", *(word for word in arguments if word != "--debug")]
    try:
        code = app(spread_files(arguments) or ["--help"], standalone_mode=False)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the last line of defence of the whole program
        sys.exit(_report(error))
    sys.exit(code or (0 if arguments else 2))


def _make_output_safe() -> None:
    """Let nothing that is printed fail by the terminal it goes to."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Closed by whoever started us: the first socket would take its place.
            os.open(os.devnull, os.O_RDWR)
    codecs.register_error("plainly", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plainly")


# What our own texts hold beyond ASCII. A minus that became a question mark would change a number.
_PLAIN = {
    "\u2212": "-",
    "\u2013": "-",
    "\u2014": "-",
    "\u00d7": "x",
    "\u00b3": "3",
    "\u2026": "...",
}


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Write what the terminal cannot show in the letters that it has, or as a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter, "?") for letter in text), error.end


def _report(error: Exception) -> int:
    """Print what went wrong and what to do; returns the exit code."""
    from wastewise_jobs.cli.console import as_typed
    from wastewise_jobs.cli.error_words import explain
    from wastewise_jobs.logs import redact

    text, code = explain(error)
    if os.environ.get("LOG_LEVEL", "").upper() == "DEBUG":
        print(redact("".join(traceback.format_exception(error))), file=sys.stderr)  # noqa: T201
    line = " ".join(as_typed(text).split())
    print(f"error: {line}", file=sys.stderr)  # noqa: T201
    return code


def _print_version() -> None:
    from importlib.metadata import version

    typer.echo(f"wastewise-jobs {version('wastewise-jobs')}")
    raise typer.Exit
