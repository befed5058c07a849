"""`migrate`: brings the database to this release's schema, or shows what that would do."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from wastewise_jobs.settings import Settings


def migrate(
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Only print what would be applied.")] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Undo the newest migration instead.")
    ] = False,
    count: Annotated[
        int | None, typer.Option(min=1, max=1000, help="With --rollback: how many to undo (1).")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --rollback: also where rows are thrown away.")
    ] = False,
) -> None:
    """Bring the database to the schema of this release.

    Safe to repeat, and to run from several machines at once.
    """
    from wastewise_jobs.cli.running import run
    from wastewise_jobs.cli.start import start
    from wastewise_jobs.errors import InvalidInputError

    if plan and rollback:
        raise InvalidInputError("--plan", "cannot be given together with --rollback")
    if not rollback and (yes or count is not None):
        raise InvalidInputError("--yes" if yes else "--count", "needs --rollback")
    settings = start()
    if plan:
        names, said = run(_plan(settings)), "would apply"
    elif rollback:
        names, said = run(_roll_back(settings, count or 1, discard=yes)), "undone"
    else:
        names, said = run(_apply(settings)), "applied"
    for name in names:
        typer.echo(f"{said} {name}")
    if not names:
        of_release = "nothing to do: the schema is that of this release"
        typer.echo("nothing to undo" if rollback else of_release, err=True)


async def _plan(settings: "Settings") -> list[str]:
    from wastewise_jobs.db.schema.migrate import plan
    from wastewise_jobs.service.database import database

    async with database(settings) as addresses:
        return await plan(addresses.direct, variable=addresses.direct_variable)


async def _roll_back(settings: "Settings", count: int, *, discard: bool) -> list[str]:
    from wastewise_jobs.db.schema.migrate import rollback, tables_to_lose
    from wastewise_jobs.errors import InvalidInputError
    from wastewise_jobs.service.database import database

    async with database(settings) as addresses:
        dsn, variable = addresses.direct, addresses.direct_variable
        lost = [] if discard else await tables_to_lose(dsn, count=count, variable=variable)
        if lost:
            problem = f"would throw away the rows of {', '.join(lost)}; add --yes if you mean it"
            raise InvalidInputError("--rollback", problem)
        return await rollback(dsn, count=count, variable=variable)


async def _apply(settings: "Settings") -> list[str]:
    from wastewise_jobs.service.database import database, prepare_schema

    async with database(settings) as addresses:
        return await prepare_schema(addresses, settings)
