"""One process from its start to its end: what it opens, what runs in it, and how it stops."""

import asyncio
import contextlib
import gc
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from wastewise_jobs.db.doorbell import Doorbell
from wastewise_jobs.db.opening import checked_pool
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.errors import WorkerWornOutError
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.logs import get_logger
from wastewise_jobs.service.alerts import open_dispatcher
from wastewise_jobs.service.api import prepare_api, require_auth, require_two_ports
from wastewise_jobs.service.database import (
    database,
    log_connection_budget,
    prepare_schema,
    tell_of,
)
from wastewise_jobs.service.parts import Parts, carried_jobs, warn_of_unused
from wastewise_jobs.service.shutdown import Stop
from wastewise_jobs.service.vitals import make_vitals, metrics_port
from wastewise_jobs.service.worker import make_maintenance, make_worker
from wastewise_jobs.settings import Settings
from wastewise_jobs.workers.worker import Worker

if TYPE_CHECKING:
    from wastewise_jobs.service.api import Serve
    from wastewise_jobs.web.http.server import Address

log = get_logger(__name__)

# After the grace period: for outcomes to be written; then nobody waits for the database any more.
_LAST_STATEMENTS_SECONDS = 0.9


async def run_service(
    settings: Settings,
    parts: Parts,
    *,
    stop: Stop,
    on_up: Callable[["Address | None"], None] | None = None,
) -> None:
    """Run until a signal stops it; `on_up` is called once everything runs.

    Raises WastewiseJobsError when it cannot start.
    """
    require_auth(settings, parts)
    require_two_ports(settings, parts)
    async with AsyncExitStack() as opened:
        addresses = await opened.enter_async_context(database(settings, stop=stop))
        if settings.embedded:
            await prepare_schema(addresses, settings)
        pool = await opened.enter_async_context(
            checked_pool(
                addresses,
                size=settings.database_pool_size,
                timeout_seconds=settings.database_timeout_seconds,
            )
        )
        await log_connection_budget(pool, settings, parts)
        doorbell = Doorbell(pool, enabled=settings.notify_enabled)
        maintenance = make_maintenance(settings, pool)
        jobs = carried_jobs(parts)
        jobs.bind(JobStore(pool), doorbell.ring, notifies=settings.notify_enabled)
        worker = None
        if parts.worker:
            await tell_of(jobs, pool, settings, builtin=parts.builtin)
            warn_of_unused(parts.queues or {}, jobs)
            worker = make_worker(
                settings, addresses, pool, jobs, queues=parts.queues, on_hung=stop.hung
            )
            stop.last_acts.insert(0, worker.end_without_loop)
        dispatcher = await opened.enter_async_context(open_dispatcher(settings, pool))
        vitals = make_vitals(pool, doorbell, maintenance, dispatcher, worker)
        if settings.metrics_port is not None:
            port = metrics_port(
                settings.metrics_host,
                settings.metrics_port,
                pool,
                vitals,
                silent_after=timedelta(minutes=settings.worker_heartbeat_threshold_minutes),
            )
            metrics = await opened.enter_async_context(port)
            log.info("metrics_started", url=metrics.url)
        serve = await prepare_api(settings, parts, pool, vitals) if parts.api else None
        background = {
            "doorbell": doorbell.run,
            "maintenance": maintenance.run,
            "alerts": dispatcher.run,
        }
        await _run_parts(
            serve, worker, background, pool, stop=stop, on_up=on_up or (lambda _: None)
        )


async def _run_parts(
    serve: "Serve | None",
    worker: Worker | None,
    background: Mapping[str, Callable[[], Coroutine[Any, Any, None]]],
    pool: Pool,
    *,
    stop: Stop,
    on_up: Callable[["Address | None"], None],
) -> None:
    async with asyncio.TaskGroup() as running:
        loops = [running.create_task(run(), name=name) for name, run in background.items()]
        tasks: list[asyncio.Task[None]] = []
        address = None
        if serve is not None:
            listens: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
            serving = _serve(serve, stop=stop, listens=listens)
            tasks.append(running.create_task(serving, name="api"))
            # A port that is taken ends the group, and this wait, before anything is claimed.
            address = await listens
        if worker is not None:
            tasks.append(running.create_task(worker.run(), name="worker"))
        # What is there by now stays for good: no collection need look at it again.
        gc.collect()
        gc.freeze()
        stop.up = True
        on_up(address)
        asked = running.create_task(stop.asked.wait(), name="stop")
        await asyncio.wait([asked, *tasks], return_when=asyncio.FIRST_COMPLETED)
        by_itself = not stop.asked.is_set()
        stop.asked.set()
        log.info("service_stopping")
        if worker is not None:
            worker.stop()
        ending = running.create_task(_end_in_time(tasks, worker, pool, stop=stop), name="end")
        await asyncio.wait(tasks)
        for task in loops:
            task.cancel()
        await asyncio.wait(loops)
        ending.cancel()
    if by_itself:
        raise WorkerWornOutError


async def _serve(
    serve: "Serve",
    *,
    stop: Stop,
    listens: "asyncio.Future[Address]",
) -> None:
    async with serve() as address:
        log.info("api_started", url=address.url)
        listens.set_result(address)
        await stop.asked.wait()


async def _end_in_time(
    tasks: Sequence["asyncio.Task[None]"], worker: Worker | None, pool: Pool, *, stop: Stop
) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(stop.grace_left):
            await stop.forced.wait()
    if worker is not None:
        worker.abort()
    for task in tasks:
        # The worker ends by itself: it still has to hand its jobs back.
        if task.get_name() != "worker":
            task.cancel()
    await asyncio.sleep(_LAST_STATEMENTS_SECONDS)
    pool.terminate()
