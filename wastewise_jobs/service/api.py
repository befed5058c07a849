"""The API of a process, as its settings say; what it is made of is imported when it is wanted."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.store import AlertStore
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.db.quotas import set_quotas
from wastewise_jobs.errors import ConfigurationError
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.jobs.types import JobTypeStore
from wastewise_jobs.projects.store import ProjectStore
from wastewise_jobs.service.alerts import open_links, proxies_of
from wastewise_jobs.service.parts import Parts
from wastewise_jobs.service.vitals import Vitals
from wastewise_jobs.settings import Settings, generated_secret

if TYPE_CHECKING:
    from aiohttp import web

    from wastewise_jobs.web.access.auth import Authenticator
    from wastewise_jobs.web.http.server import Address

    Serve = Callable[[], AbstractAsyncContextManager[Address]]


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


async def prepare_api(settings: Settings, parts: Parts, pool: Pool, vitals: Vitals) -> "Serve":
    """What listens for as long as its block runs; the quotas are the settings' from here on."""
    from wastewise_jobs.web.http.server import listening

    await set_quotas(
        pool,
        projects=settings.quota_projects,
        stored_bytes=settings.quota_stored_bytes,
        pending_jobs=settings.quota_pending_jobs,
    )
    app = _app(settings, pool, vitals, await open_links(settings, AlertStore(pool)))
    return partial(listening, app, settings.host, settings.port, or_any_port=parts.or_any_port)


def _app(settings: Settings, pool: Pool, vitals: Vitals, links: AlertLinks) -> "web.Application":
    from wastewise_jobs.web.app import create_app

    return create_app(
        pool=pool,
        job_store=JobStore(pool),
        job_types=JobTypeStore(pool),
        project_store=ProjectStore(pool),
        authenticator=_authenticator(settings, pool),
        ring=vitals.doorbell.ring,
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
