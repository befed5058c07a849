"""The composition root: what runs in a process, in which order it starts and stops.

    start   database ▶ schema ▶ pool ▶ job types ▶ doorbell, checks ▶ API ▶ worker
    stop    API and claiming ▶ running jobs (grace) ▶ leases, listener, doorbell ▶ pool ▶ database

Whatever fails on the way up closes what was opened before it; an embedded server is always the
last to go. The end has one limit, counted from the signal: the grace period and two seconds.

The API and the built-in handlers are imported where they are wanted: a worker that carries only an
application's handlers starts in half the time without them.
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.store import AlertStore
from wastewise_jobs.db.doorbell import Doorbell
from wastewise_jobs.db.embedded.server import embedded_postgres
from wastewise_jobs.db.opening import Addresses, checked_pool, open_pool
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.db.quotas import set_quotas
from wastewise_jobs.db.schema.migrate import migrate
from wastewise_jobs.errors import (
    ConfigurationError,
    InvalidInputError,
    WorkerWornOutError,
)
from wastewise_jobs.handlers.registry import Jobs
from wastewise_jobs.jobs.model import JobTypeInfo
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.jobs.types import JobTypeStore
from wastewise_jobs.logs import get_logger
from wastewise_jobs.maintenance.checks import Thresholds, all_checks
from wastewise_jobs.maintenance.rounds import Maintenance
from wastewise_jobs.projects.store import ProjectStore
from wastewise_jobs.service.alerts import open_dispatcher, open_links, proxies_of
from wastewise_jobs.service.shutdown import Stop
from wastewise_jobs.service.vitals import Vitals, make_vitals, metrics_port
from wastewise_jobs.settings import Settings, generated_secret
from wastewise_jobs.workers.worker import Worker

if TYPE_CHECKING:
    from aiohttp import web

    from wastewise_jobs.web.access.auth import Authenticator
    from wastewise_jobs.web.http.server import Address

log = get_logger(__name__)

# After the grace period: for outcomes to be written; then nobody waits for the database any more.
_LAST_STATEMENTS_SECONDS = 0.9

_SET_STUCK_THRESHOLD = """
UPDATE public.schema_info
SET stuck_threshold = make_interval(mins => $1)
WHERE stuck_threshold <> make_interval(mins => $1)
"""
_ROOM = """
SELECT current_setting('max_connections')::integer
     - current_setting('superuser_reserved_connections')::integer
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is to run in this process. `app_jobs` are an application's own handlers.

    `or_any_port` lets the API have a free port where PORT is taken.
    """

    api: bool
    worker: bool
    or_any_port: bool = False
    builtin: bool = True
    app_jobs: Jobs | None = None
    queues: dict[str, int | None] | None = None


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
        await _log_connection_budget(pool, settings, parts)
        doorbell = Doorbell(pool, enabled=settings.notify_enabled)
        maintenance = _maintenance(settings, pool)
        jobs = carried_jobs(parts)
        jobs.bind(JobStore(pool), doorbell.ring, notifies=settings.notify_enabled)
        worker = None
        if parts.api:
            await set_quotas(
                pool,
                projects=settings.quota_projects,
                stored_bytes=settings.quota_stored_bytes,
                pending_jobs=settings.quota_pending_jobs,
            )
        if parts.worker:
            await pool.execute(_SET_STUCK_THRESHOLD, settings.job_stuck_threshold_minutes)
            await JobTypeStore(pool).register(job_types_of(jobs, settings, builtin=parts.builtin))
            _warn_of_unused(parts.queues or {}, jobs)
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
        serve = None
        if parts.api:
            from wastewise_jobs.web.http.server import listening

            links = await open_links(settings, AlertStore(pool))
            app = _api(settings, pool, vitals, links)
            serve = partial(
                listening, app, settings.host, settings.port, or_any_port=parts.or_any_port
            )
        background = {
            "doorbell": doorbell.run,
            "maintenance": maintenance.run,
            "alerts": dispatcher.run,
        }
        await _run_parts(serve, worker, background, pool, stop=stop, on_up=on_up or _nobody)


async def _run_parts(
    serve: Callable[[], AbstractAsyncContextManager["Address"]] | None,
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
    serve: Callable[[], AbstractAsyncContextManager["Address"]],
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


def _nobody(_: object) -> None:
    """Nobody wants to know."""


def require_auth(settings: Settings, parts: Parts) -> None:
    """Raise ConfigurationError when an API would have nothing to verify tokens with."""
    if parts.api and not settings.embedded and not settings.auth_configured:
        raise ConfigurationError(
            "JWT_SECRET",
            "is needed to serve the API on DATABASE_URL (or JWT_JWKS_URL); a worker needs neither",
        )


def require_two_ports(settings: Settings, parts: Parts) -> None:
    """Raise ConfigurationError when the API and the metrics would listen on the same port."""
    api = (settings.host, settings.port)
    metrics = (settings.metrics_host, settings.metrics_port)
    if parts.api and not parts.or_any_port and settings.port and api == metrics:
        problem = f"is PORT too ({settings.port}), where the API listens: give it another one"
        raise ConfigurationError("METRICS_PORT", problem)


def carried_jobs(parts: Parts) -> Jobs:
    """The handlers of this process: the built-in ones and the application's."""
    jobs = Jobs()
    if parts.builtin:
        from wastewise_jobs.handlers.builtin import builtin

        jobs.include(builtin)
    if parts.app_jobs is not None:
        try:
            jobs.include(parts.app_jobs)
        except ValueError as error:
            problem = f"{error}; --no-builtin leaves out what is built in"
            raise InvalidInputError("--app", problem) from None
    return jobs


def _warn_of_unused(queues: Iterable[str], jobs: Jobs) -> None:
    used = {handler.options.queue for handler in jobs}
    # Allowed all the same: a plain INSERT may put a job into any queue.
    if unused := sorted(set(queues) - used):
        log.warning("queues_unused", queues=unused, of_handlers=sorted(used))


def make_worker(
    settings: Settings,
    addresses: Addresses,
    pool: Pool,
    jobs: Jobs,
    *,
    queues: dict[str, int | None] | None = None,
    on_hung: Callable[[], object] = lambda: None,
) -> Worker:
    """A worker as the settings say; it runs nothing yet."""
    return Worker(
        pool=pool,
        dsn=addresses.direct,
        jobs=jobs,
        name=settings.worker_name,
        concurrency=settings.worker_concurrency,
        threads=settings.worker_threads,
        processes=settings.worker_processes,
        process_memory_bytes=settings.compute_memory_mb * 1024 * 1024,
        queues=queues,
        lease=timedelta(seconds=settings.lease_seconds),
        heartbeat_interval=timedelta(seconds=settings.heartbeat_seconds),
        poll_interval=timedelta(seconds=settings.poll_interval_seconds),
        shutdown_grace=timedelta(seconds=settings.shutdown_grace_seconds),
        notify=settings.notify_enabled,
        on_hung=on_hung,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )


def _maintenance(settings: Settings, pool: Pool) -> Maintenance:
    on_round = None
    if settings.heartbeat_ping_url is not None:
        from wastewise_jobs.maintenance.ping import Ping

        on_round = Ping(
            settings.heartbeat_ping_url.get_secret_value(), proxies=proxies_of(settings)
        ).send
    thresholds = Thresholds(
        stuck_minutes=settings.job_stuck_threshold_minutes,
        error_rate=settings.error_rate_threshold,
        error_rate_jobs=settings.error_rate_minimum_jobs,
        silent_worker=timedelta(minutes=settings.worker_heartbeat_threshold_minutes),
        retention=timedelta(days=settings.job_retention_days),
    )
    return Maintenance(
        pool,
        all_checks(thresholds),
        interval=timedelta(seconds=settings.check_interval_seconds),
        jitter=timedelta(seconds=settings.check_jitter_seconds),
        on_round=on_round,
    )


def _api(settings: Settings, pool: Pool, vitals: Vitals, links: AlertLinks) -> "web.Application":
    from wastewise_jobs.web.app import create_app

    return create_app(
        pool=pool,
        job_store=JobStore(pool),
        job_types=JobTypeStore(pool),
        project_store=ProjectStore(pool),
        authenticator=_authenticator(settings, pool),
        doorbell=vitals.doorbell,
        user_priority_floor=settings.user_priority_floor,
        rate_limit_per_minute=settings.job_rate_limit_per_minute,
        cors_allowed_origins=settings.cors_allowed_origins,
        behind_tls=(settings.public_url or "").startswith("https://"),
        late_loops=vitals.late_loops,
        listener=vitals.listener,
        exposition=vitals.exposition,
        alert_links=links,
        time_zone=settings.timezone,
        silent_after=timedelta(minutes=settings.worker_heartbeat_threshold_minutes),
        recognition_memory_bytes=settings.compute_memory_mb * 1024**2,
        job_quota=settings.quota_pending_jobs > 0,
    )


def _authenticator(settings: Settings, pool: Pool) -> "Authenticator":
    from wastewise_jobs.web.access.auth import create_authenticator
    from wastewise_jobs.web.access.keys import KeyStore

    secret, previous = settings.jwt_secret, settings.jwt_secret_previous
    if not settings.auth_configured:
        secret = generated_secret(settings.wastewise_home)
    return create_authenticator(
        key_store=KeyStore(pool),
        jwt_secret=secret.get_secret_value() if secret else None,
        previous_secret=previous.get_secret_value() if previous else None,
        proxies=proxies_of(settings),
        jwks_url=settings.jwt_jwks_url,
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
    )


@asynccontextmanager
async def database(settings: Settings, *, stop: Stop | None = None) -> AsyncIterator[Addresses]:
    """DATABASE_URL, or a PostgreSQL of our own that runs as long as somebody is inside.

    With `stop` it is left even if the process does not get to the end of the block.
    """
    if settings.database_url is not None:
        pooled = settings.database_url.get_secret_value()
        direct = settings.database_direct_url
        addresses = Addresses(pooled, direct.get_secret_value() if direct else pooled)
        if words := addresses.dropped:
            log.warning("database_address_words_dropped", words=words)
        yield addresses
        return
    async with embedded_postgres(
        settings.wastewise_home,
        bin_dir=settings.wastewise_pg_bin,
        leave_later=_nobody if stop is None else stop.last_acts.append,
    ) as dsn:
        yield Addresses(dsn, dsn)


async def prepare_schema(addresses: Addresses, settings: Settings) -> list[str]:
    """Bring the schema up to date and register the built-in job types; what was applied."""
    from wastewise_jobs.handlers.builtin import builtin

    applied = await migrate(addresses.direct, variable=addresses.direct_variable)
    async with open_pool(addresses, size=2) as pool:
        await pool.execute(_SET_STUCK_THRESHOLD, settings.job_stuck_threshold_minutes)
        await JobTypeStore(pool).register(job_types_of(builtin, settings, builtin=True))
    return applied


def job_types_of(jobs: Jobs, settings: Settings, *, builtin: bool) -> list[JobTypeInfo]:
    """The job types of these handlers, with the settings' defaults."""
    carried = jobs.job_types(
        default_timeout=timedelta(seconds=settings.default_job_timeout_seconds),
        default_max_retries=settings.max_job_retries,
    )
    if not builtin:
        return carried
    from wastewise_jobs.handlers.builtin import REGULATORY_RESEARCH

    return [*carried, REGULATORY_RESEARCH]


async def _log_connection_budget(pool: Pool, settings: Settings, parts: Parts) -> None:
    beside = settings.connections_beside_pool if parts.worker else 2
    budget = settings.database_pool_size + beside
    room = await pool.fetchval(_ROOM)
    if budget > room:
        log.warning("connections_over_budget", needed=budget, server_allows=room)
        return
    log.info(
        "connections_budgeted",
        pool=settings.database_pool_size,
        beside_pool=beside,
        server_allows=room,
    )
