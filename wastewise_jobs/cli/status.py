"""`status`: queue, workers and alerts at a glance, straight from the database."""

from typing import TYPE_CHECKING, Any

import typer

from wastewise_jobs.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from wastewise_jobs.alerts.model import Alert
    from wastewise_jobs.db.pool import Pool
    from wastewise_jobs.monitoring.metrics import QueueMetrics
    from wastewise_jobs.monitoring.workers import Fleet
    from wastewise_jobs.settings import Settings

_SHOWN_ALERTS = 10
_STYLES = {"healthy": "green", "degraded": "yellow", "unhealthy": "bold red"}


def status(*, as_json: AsJson = False) -> None:
    """The queue, the workers and the open alerts; exit code 1 while the fleet is unhealthy."""
    from wastewise_jobs.cli.running import run
    from wastewise_jobs.cli.start import start
    from wastewise_jobs.db.opening import checked_pool
    from wastewise_jobs.service.database import database

    settings = start()

    async def looked() -> "tuple[QueueMetrics, Fleet, list[Alert]]":
        async with database(settings) as addresses, checked_pool(addresses) as pool:
            return await _look(settings, pool)

    metrics, fleet, alerts = run(looked())
    if as_json:
        import orjson

        said = {"queue": metrics.figures, "fleet": fleet, "status": fleet.status, "alerts": alerts}
        said["reasons"] = fleet.reasons
        typer.echo(orjson.dumps(said, default=str))
    else:
        _print(metrics.figures, fleet, alerts)
    raise typer.Exit(int(fleet.status == "unhealthy"))


async def _look(settings: "Settings", pool: "Pool") -> "tuple[QueueMetrics, Fleet, list[Alert]]":
    from datetime import timedelta

    from wastewise_jobs.alert_names import AlertStatus
    from wastewise_jobs.alerts.model import AlertFilter
    from wastewise_jobs.alerts.store import AlertStore
    from wastewise_jobs.monitoring.metrics import MetricsStore
    from wastewise_jobs.monitoring.workers import FleetStore

    silent_after = timedelta(minutes=settings.worker_heartbeat_threshold_minutes)
    unresolved = [one for one in AlertStatus if one is not AlertStatus.RESOLVED]
    return (
        await MetricsStore(pool, time_zone=settings.timezone).queue_metrics(),
        await FleetStore(pool, silent_after=silent_after).fleet(),
        await AlertStore(pool).list_alerts(AlertFilter(statuses=unresolved), limit=_SHOWN_ALERTS),
    )


def _print(figures: dict[str, Any], fleet: "Fleet", alerts: "Sequence[Alert]") -> None:
    from rich.text import Text

    from wastewise_jobs.cli.console import stdout
    from wastewise_jobs.cli.text import plain

    console = stdout()
    word = fleet.status.value
    console.print(Text(word, style=_STYLES[word]), _sentence(figures), sep="  ")
    for reason in fleet.reasons:
        console.print(Text(f"! {plain(reason)}", style="yellow"))
    if figures["by_queue"]:
        console.print(_queues(figures))
    if fleet.workers:
        console.print()
        console.print(_workers(fleet))
    if alerts:
        console.print()
        console.print(_alerts(alerts))


def _sentence(figures: dict[str, Any]) -> str:
    from wastewise_jobs.in_words import duration, percent

    oldest = figures["oldest_due_seconds"]
    waits = f", the oldest due for {duration(oldest)}" if oldest is not None else ""
    return (
        f"{figures['total_pending']:,} pending{waits}; "
        f"{figures['total_processing']:,} processing, {figures['stuck_jobs']:,} stuck\n"
        f"today {figures['total_completed_today']:,} completed, "
        f"{figures['total_failed_today']:,} failed; "
        f"{percent(figures['error_rate_1h'])} errors in the last hour"
    )


def _queues(figures: dict[str, Any]) -> "Table":
    from wastewise_jobs.cli.text import plain

    table = _table("Queue", "Pending", "Processing")
    for name, share in sorted(figures["by_queue"].items()):
        table.add_row(plain(name), f"{share['pending']:,}", f"{share['processing']:,}")
    return table


def _workers(fleet: "Fleet") -> "Table":
    from wastewise_jobs.cli.text import moment, plain

    table = _table("Worker", "Slots", "CPU %", "Memory MiB", "Lag ms", "Last heartbeat", "")
    for worker in fleet.workers:
        cpu, memory, lag = worker.cpu_percent, worker.memory_bytes, worker.loop_lag_seconds
        table.add_row(
            plain(worker.worker_id),
            f"{worker.running}/{worker.concurrency}",
            "-" if cpu is None else f"{cpu:.0f}",
            "-" if memory is None else f"{memory / 2**20:.0f}",
            "-" if lag is None else f"{lag * 1000:.0f}",
            moment(worker.last_heartbeat_at),
            "silent" if not worker.alive else "draining" if worker.draining else "",
        )
    return table


def _alerts(alerts: "Sequence[Alert]") -> "Table":
    from wastewise_jobs.cli.text import moment, plain

    table = _table("Alert", "Seen", "Last seen", "Message")
    for alert in alerts:
        table.add_row(
            f"{alert.alert_type} ({alert.status})",
            f"{alert.occurrences:,}",
            moment(alert.last_seen_at),
            plain(alert.message, 100),
        )
    return table


def _table(*names: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name)
    return table
