"""`keys create|list|revoke`: API keys, made by whoever can reach the database."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import typer

from wastewise_jobs.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wastewise_jobs.web.access.keys import KeyInfo, KeyStore

T = TypeVar("T")

app = typer.Typer(help="API keys: made, listed and revoked in the database itself.")


@app.command()
def create(
    *,
    user: Annotated[UUID, typer.Option(help="The user (UUID) that the key acts as.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    scopes: Annotated[
        str, typer.Option(help="Of read, write, admin; separated by commas.")
    ] = "read,write",
    days: Annotated[
        float | None, typer.Option(min=0.01, max=36_500, help="How long it is good for.")
    ] = None,
) -> None:
    """Make a key and print it; it is shown this once and kept nowhere."""
    from datetime import UTC, datetime, timedelta

    from wastewise_jobs.cli.arguments import checked, somebody
    from wastewise_jobs.wire.keys import KeyRequest

    wanted = [scope.strip().lower() for scope in scopes.split(",") if scope.strip()]
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    request = checked(
        KeyRequest, user_id=somebody(user), name=name, scopes=wanted, expires_at=expires_at
    )

    async def make(store: "KeyStore") -> str:
        _, key = await store.create(
            request.user_id,
            scopes=request.scopes,
            name=request.name,
            expires_at=request.expires_at,
        )
        return key

    typer.echo(_with_store(make))


@app.command("list")
def list_keys(
    *,
    user: Annotated[UUID | None, typer.Option(help="Only this user's keys.")] = None,
    as_json: AsJson = False,
) -> None:
    """The keys, newest first, without their secrets."""
    keys = _with_store(lambda store: store.list_keys(user_id=user))
    if as_json:
        import orjson

        # The driver's UUIDs are a class of their own.
        typer.echo(orjson.dumps(keys, default=str))
        return
    _print(keys)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key, its public id or its id.")],
) -> None:
    """Make a key worthless; running services notice within seconds."""
    if not key.isascii() or not _with_store(lambda store: store.revoke(key)):
        from wastewise_jobs.errors import InvalidInputError

        raise InvalidInputError(
            "KEY", "there is no such key; `wastewise-jobs keys list` shows them"
        )
    typer.echo("revoked")


def _print(keys: "list[KeyInfo]") -> None:
    from wastewise_jobs.cli.text import plain

    if not keys:
        typer.echo("no keys", err=True)
    for key in keys:
        # Together too long for a line of a terminal.
        typer.echo(f"{key.public_id}  {plain(key.name)}".rstrip())
        typer.echo(f"  user {key.user_id}, may {', '.join(key.scopes)}")
        typer.echo(f"  {', '.join(_story(key))}")


def _story(key: "KeyInfo") -> "Iterator[str]":
    from wastewise_jobs.cli.text import day, moment

    yield f"created {day(key.created_at)}"
    yield f"last used {moment(key.last_used_at)}" if key.last_used_at else "never used"
    if key.revoked_at:
        yield f"revoked {day(key.revoked_at)}"
    elif key.expires_at:
        yield f"expires {day(key.expires_at)}"
    else:
        yield "never expires"


def _with_store(act: "Callable[[KeyStore], Awaitable[T]]") -> T:
    from wastewise_jobs.cli.running import run
    from wastewise_jobs.cli.start import start
    from wastewise_jobs.db.opening import checked_pool
    from wastewise_jobs.service.database import database
    from wastewise_jobs.web.access.keys import KeyStore

    settings = start()

    async def acted() -> T:
        async with database(settings) as addresses, checked_pool(addresses) as pool:
            return await act(KeyStore(pool))

    return run(acted())
