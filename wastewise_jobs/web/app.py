"""Puts the API together from its parts. Plain values only: settings are the composition root's."""

import secrets
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from importlib import metadata

from aiohttp import web

from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.store import AlertStore
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.jobs.types import JobTypeStore
from wastewise_jobs.monitoring.metrics import MetricsStore
from wastewise_jobs.monitoring.prometheus import Exposition
from wastewise_jobs.monitoring.trends import TrendStore
from wastewise_jobs.monitoring.workers import FleetStore
from wastewise_jobs.projects.analysis_store import AnalysisStore
from wastewise_jobs.projects.store import ProjectStore
from wastewise_jobs.web.access.auth import Authenticator, create_authenticator
from wastewise_jobs.web.access.keys import KeyStore
from wastewise_jobs.web.api.admin import AdminResource
from wastewise_jobs.web.api.alerts import AlertsResource
from wastewise_jobs.web.api.batcher import EnqueueBatcher
from wastewise_jobs.web.api.catalogue import Catalogue
from wastewise_jobs.web.api.docs import DocsResource
from wastewise_jobs.web.api.downloads import Downloads
from wastewise_jobs.web.api.events import EventsResource
from wastewise_jobs.web.api.files import FilesResource
from wastewise_jobs.web.api.health import HealthResource
from wastewise_jobs.web.api.job_data import JobDataResource
from wastewise_jobs.web.api.jobs import JobsResource
from wastewise_jobs.web.api.metrics import MetricsResource
from wastewise_jobs.web.api.monitoring import MonitoringResource
from wastewise_jobs.web.api.projects import ProjectsResource
from wastewise_jobs.web.api.recognition import MEMORY_BYTES, Recogniser
from wastewise_jobs.web.api.writes import Writes
from wastewise_jobs.web.http.budget import Budget, answer_budget, body_budget
from wastewise_jobs.web.http.limits import RateLimit
from wastewise_jobs.web.http.middleware import (
    answer_expect,
    answer_options,
    explain_errors,
    identify,
    on_every_answer,
)
from wastewise_jobs.web.http.openapi import openapi
from wastewise_jobs.web.http.route import Route, mount
from wastewise_jobs.web.http.server import ANSWERS
from wastewise_jobs.web.table import Resources, api_routes, metrics_port_routes
from wastewise_jobs.web.watch import JobWatcher

ROUTES = web.AppKey("routes", tuple[Route, ...])
BODIES = web.AppKey("bodies", Budget)
WATCHER = web.AppKey("watcher", JobWatcher)


def create_app(
    *,
    pool: Pool,
    job_store: JobStore,
    job_types: JobTypeStore,
    project_store: ProjectStore,
    authenticator: Authenticator,
    ring: Callable[[str], None],
    user_priority_floor: int = 1,
    rate_limit_per_minute: int = 0,
    cors_allowed_origins: Collection[str] = (),
    behind_tls: bool = False,
    late_loops: Callable[[], Sequence[str]] = tuple,
    listener: Callable[[], str] | None = None,
    time_zone: str = "UTC",
    silent_after: timedelta = timedelta(minutes=5),
    alert_links: AlertLinks | None = None,
    exposition: Exposition | None = None,
    recognition_memory_bytes: int = MEMORY_BYTES,
    job_quota: bool = False,
) -> web.Application:
    """The API as an aiohttp application, to be served by `web.server`.

    `ring(queue)` wakes idle workers; `late_loops` and `listener` feed /livez and /readyz, as
    HealthResource says; a rate limit of 0 is off; `behind_tls` adds Strict-Transport-Security;
    "today" is the day in `time_zone`, and a worker without a heartbeat for `silent_after` is not
    alive; `job_quota` says that the database may have one. The application owns what it starts
    itself and ends it on shutdown; the pool and the stores belong to the caller.
    """
    # Without any, no link that somebody holds is good.
    links = alert_links or AlertLinks("", secrets.token_bytes(32))
    catalogue = Catalogue(job_types)
    batcher = EnqueueBatcher(job_store, project_store, pool, quota=job_quota)
    watcher = JobWatcher(job_store)
    writes = Writes(pool)
    answers, bodies = answer_budget(), body_budget()
    downloads = Downloads(answers)
    recogniser = Recogniser(memory_bytes=recognition_memory_bytes)
    health = HealthResource(
        pool=pool, late_loops=late_loops, listener=listener, silent_after=silent_after
    )
    docs = DocsResource()
    routes = api_routes(
        Resources(
            jobs=JobsResource(
                store=job_store,
                catalogue=catalogue,
                batcher=batcher,
                watcher=watcher,
                ring=ring,
                writes=writes,
                priority_floor=user_priority_floor,
            ),
            events=EventsResource(
                store=job_store,
                watcher=watcher,
                authenticate=authenticator.authenticate,
                answers=answers,
            ),
            job_data=JobDataResource(
                store=job_store,
                analyses=AnalysisStore(pool),
                projects=project_store,
                downloads=downloads,
            ),
            projects=ProjectsResource(store=project_store, writes=writes),
            files=FilesResource(
                store=project_store, writes=writes, recogniser=recogniser, downloads=downloads
            ),
            admin=AdminResource(keys=KeyStore(pool), catalogue=catalogue, writes=writes),
            alerts=AlertsResource(store=AlertStore(pool), links=links, writes=writes),
            monitoring=MonitoringResource(
                metrics=MetricsStore(pool, time_zone=time_zone),
                fleet=FleetStore(pool, silent_after=silent_after),
                trends=TrendStore(pool),
            ),
            metrics=MetricsResource(exposition or Exposition(pool)),
            health=health,
            docs=docs,
        )
    )
    docs.describe(openapi(routes, version=metadata.version("wastewise-jobs")))

    app = web.Application(
        middlewares=[identify, explain_errors(), answer_options(cors_allowed_origins)]
    )
    app.on_response_prepare.append(on_every_answer(cors_allowed_origins, behind_tls=behind_tls))
    mount(
        app,
        routes,
        authenticate=authenticator.authenticate,
        rate_limit=RateLimit(rate_limit_per_minute),
        bodies=bodies,
        expect=answer_expect,
    )
    app[ROUTES] = routes
    app[ANSWERS] = answers
    app[BODIES] = bodies
    app[WATCHER] = watcher

    async def stop(_: web.Application) -> None:
        # First of all streams and long polls: they would hold the shutdown up.
        health.stop()
        await watcher.stop()

    async def clean_up(_: web.Application) -> None:
        await recogniser.close()
        await batcher.close()
        await authenticator.close()

    app.on_shutdown.append(stop)
    app.on_cleanup.append(clean_up)
    return app


def create_metrics_app(
    pool: Pool,
    exposition: Exposition,
    *,
    late_loops: Callable[[], Sequence[str]] = tuple,
    listener: Callable[[], str] | None = None,
    silent_after: timedelta = timedelta(minutes=5),
) -> web.Application:
    """/metrics, /livez and /readyz without credentials, for a port that not everybody reaches."""
    health = HealthResource(
        pool=pool, late_loops=late_loops, listener=listener, silent_after=silent_after
    )
    app = web.Application(middlewares=[identify, explain_errors()])
    app.on_response_prepare.append(on_every_answer((), behind_tls=False))
    mount(
        app,
        metrics_port_routes(MetricsResource(exposition), health),
        # Every route is public: nobody is asked.
        authenticate=create_authenticator(key_store=KeyStore(pool)).authenticate,
        rate_limit=RateLimit(0),
        bodies=body_budget(),
        expect=answer_expect,
    )
    return app
