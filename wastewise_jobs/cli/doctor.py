"""`doctor`: looks at everything an installation needs, and says what to do about what it lacks."""

from typing import TYPE_CHECKING, Annotated

import typer

from wastewise_jobs.cli.options import AsJson

if TYPE_CHECKING:
    from wastewise_jobs.cli.checks import Finding


def doctor(
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend job_queue if it disagrees with the jobs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check settings, database, schema, listener, connections, clock, queue and channels."""
    from wastewise_jobs.cli.checks import Grade, examine
    from wastewise_jobs.cli.running import run
    from wastewise_jobs.cli.start import start
    from wastewise_jobs.service.database import database

    settings = start()

    async def examined() -> "list[Finding]":
        async with database(settings) as addresses:
            return await examine(settings, addresses, repair=repair)

    findings = run(examined())
    if as_json:
        import orjson

        typer.echo(orjson.dumps(findings))
    else:
        _print(findings)
    raise typer.Exit(int(any(finding.verdict is Grade.PROBLEM for finding in findings)))


def _print(findings: "list[Finding]") -> None:
    from rich.table import Table
    from rich.text import Text

    from wastewise_jobs.cli.console import as_typed, stdout
    from wastewise_jobs.logs import redact

    styles = {"good": "green", "note": "yellow", "problem": "bold red"}
    marks = {"good": "ok", "note": "note", "problem": "problem"}
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        says = Text(redact(finding.says))
        if finding.advice:
            says.append(f"\n→ {as_typed(redact(finding.advice))}", style="bold")
        mark = Text(marks[finding.verdict], style=styles[finding.verdict])
        table.add_row(mark, finding.check, says)
    stdout().print(table)
