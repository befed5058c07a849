"""How this process is: its loops, listener and counters, for the API and the metrics port."""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from wastewise_jobs.alerts.dispatcher import Dispatcher
from wastewise_jobs.db.doorbell import Doorbell
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.maintenance.rounds import Maintenance
from wastewise_jobs.monitoring.prometheus import Exposition
from wastewise_jobs.workers.worker import Worker

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from wastewise_jobs.web.http.server import Address


@dataclass(frozen=True, slots=True)
class Vitals:
    """What /livez, /readyz and /metrics tell."""

    doorbell: Doorbell
    maintenance: Maintenance
    dispatcher: Dispatcher
    worker: Worker | None
    exposition: Exposition

    def late_loops(self) -> list[str]:
        """Loops that have not ticked lately."""
        beats = {"doorbell": self.doorbell.beat, "maintenance": self.maintenance.beat}
        beats |= self.dispatcher.beats | (self.worker.beats if self.worker else {})
        return [name for name, beat in beats.items() if beat.late]

    @property
    def listener(self) -> Callable[[], str] | None:
        """Says how the LISTEN connection is; None where there is none."""
        worker = self.worker
        if worker is None:
            return None
        return lambda: "ok" if worker.listening else "polling"


def make_vitals(
    pool: Pool,
    doorbell: Doorbell,
    maintenance: Maintenance,
    dispatcher: Dispatcher,
    worker: Worker | None,
) -> Vitals:
    from wastewise_jobs.maintenance.metrics import maintenance_figures
    from wastewise_jobs.workers.metrics import worker_metrics

    sources: list[Callable[[], Iterable[Metric]]] = [partial(maintenance_figures, maintenance)]
    if worker is not None:
        sources.append(partial(worker_metrics, worker))
    return Vitals(doorbell, maintenance, dispatcher, worker, Exposition(pool, sources))


def metrics_port(
    host: str, port: int, pool: Pool, vitals: Vitals, *, silent_after: timedelta
) -> AbstractAsyncContextManager["Address"]:
    """Serves /metrics, /livez and /readyz without credentials while the block runs."""
    from wastewise_jobs.web.app import create_metrics_app
    from wastewise_jobs.web.http.server import listening

    app = create_metrics_app(
        pool,
        vitals.exposition,
        late_loops=vitals.late_loops,
        listener=vitals.listener,
        silent_after=silent_after,
    )
    return listening(app, host, port, variable_prefix="METRICS_")
