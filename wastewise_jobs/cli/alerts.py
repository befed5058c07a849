"""`alerts test|list|ack`: a test through every channel, the alerts, and an acknowledgement."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import typer

from wastewise_jobs.cli.options import AsJson

if TYPE_CHECKING:
    from wastewise_jobs.alert_names import AlertStatus
    from wastewise_jobs.alerts.model import Alert
    from wastewise_jobs.alerts.store import AlertStore
    from wastewise_jobs.settings import Settings

T = TypeVar("T")

app = typer.Typer(help="Alerts: a test of the channels, what is open, an acknowledgement.")


@app.command()
def test() -> None:
    """Send a test alert through every configured channel, and say what became of each."""
    from wastewise_jobs.alert_names import CHANNELS
    from wastewise_jobs.alerts.model import NotSent
    from wastewise_jobs.service.alerts import send_test

    settings, outcomes = _with_store(send_test)
    for name in CHANNELS:
        outcome = outcomes.get(name)
        if isinstance(outcome, NotSent):
            typer.echo(f"{name:<9}  failed: {outcome.reason}")
        elif outcome is None:
            typer.echo(f"{name:<9}  not configured")
        else:
            typer.echo(f"{name:<9}  sent{f', but {outcome.refused}' if outcome.refused else ''}")
    if not settings.channels or any(isinstance(one, NotSent) for one in outcomes.values()):
        raise typer.Exit(1)


@app.command("list")
def list_alerts(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    as_json: AsJson = False,
) -> None:
    """The alerts that are not resolved, newest first."""
    from wastewise_jobs.alert_names import AlertStatus
    from wastewise_jobs.alerts.model import AlertFilter

    statuses = [one for one in AlertStatus if everything or one is not AlertStatus.RESOLVED]

    async def found(_: "Settings", store: "AlertStore") -> "list[Alert]":
        return await store.list_alerts(AlertFilter(statuses=statuses), limit=limit)

    _, alerts = _with_store(found)
    if as_json:
        import orjson

        # The driver's UUIDs are a class of their own.
        typer.echo(orjson.dumps(alerts, default=str))
        return
    _print(alerts)


@app.command()
def ack(
    alert_id: Annotated[UUID, typer.Argument(metavar="ALERT_ID", show_default=False)],
    *,
    note: Annotated[str | None, typer.Option(help="What you are doing about it.")] = None,
) -> None:
    """Acknowledge an alert: it stays quiet until it gets worse."""
    from wastewise_jobs.alert_names import AlertStatus
    from wastewise_jobs.errors import InvalidInputError

    async def act(_: "Settings", store: "AlertStore") -> "AlertStatus | None":
        return await store.acknowledge(alert_id, by=None, actor="command line", note=note)

    _, answer = _with_store(act)
    if answer is None:
        raise InvalidInputError("ALERT_ID", "there is no such alert; `alerts list` shows them")
    typer.echo("acknowledged" if answer is AlertStatus.ACKNOWLEDGED else "it is resolved already")


def _print(alerts: "list[Alert]") -> None:
    from wastewise_jobs.alerts.wording import clean
    from wastewise_jobs.cli.text import moment, plain

    if not alerts:
        typer.echo("no alerts", err=True)
    for alert in alerts:
        typer.echo(f"{alert.id}  {alert.status}, {alert.severity}, {alert.alert_type}")
        typer.echo(f"  {plain(clean(alert.message, 200))}")
        told = f"told {', '.join(alert.channels)}" if alert.channels else "told nobody"
        missed = f", not delivered to {', '.join(alert.undelivered)}" if alert.undelivered else ""
        seen = f"seen {alert.occurrences:,} times" if alert.occurrences > 1 else "seen once"
        typer.echo(f"  {seen}, last {moment(alert.last_seen_at)}, {told}{missed}")


def _with_store(
    act: "Callable[[Settings, AlertStore], Awaitable[T]]",
) -> "tuple[Settings, T]":
    from wastewise_jobs.alerts.store import AlertStore
    from wastewise_jobs.cli.running import run
    from wastewise_jobs.cli.start import start
    from wastewise_jobs.db.opening import checked_pool
    from wastewise_jobs.service.database import database

    settings = start()

    async def acted() -> T:
        async with database(settings) as addresses, checked_pool(addresses) as pool:
            return await act(settings, AlertStore(pool))

    return settings, run(acted())
