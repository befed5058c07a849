"""The route table: every address of the service, in the order of its description.

What is on an address, who may use it and what it can answer, its resource says.
"""

from dataclasses import dataclass

from wastewise_jobs.web.api import (
    admin,
    alerts,
    docs,
    events,
    files,
    health,
    job_data,
    jobs,
    metrics,
    monitoring,
    projects,
)
from wastewise_jobs.web.http.caller import ADMIN
from wastewise_jobs.web.http.route import PUBLIC, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What answers: one for each kind of thing that has an address."""

    jobs: jobs.JobsResource
    events: events.EventsResource
    job_data: job_data.JobDataResource
    projects: projects.ProjectsResource
    files: files.FilesResource
    admin: admin.AdminResource
    alerts: alerts.AlertsResource
    monitoring: monitoring.MonitoringResource
    metrics: metrics.MetricsResource
    health: health.HealthResource
    docs: docs.DocsResource


def api_routes(of: Resources) -> tuple[Route, ...]:
    """Every route of the main port."""
    return (
        *jobs.routes(of.jobs),
        *events.routes(of.events),
        *job_data.routes(of.job_data),
        *projects.routes(of.projects),
        *files.routes(of.files),
        *admin.routes(of.admin),
        *alerts.routes(of.alerts),
        *monitoring.routes(of.monitoring),
        *metrics.routes(of.metrics, access=ADMIN),
        *health.routes(of.health),
        *docs.routes(of.docs),
    )


def metrics_port_routes(
    of_metrics: metrics.MetricsResource, of_health: health.HealthResource
) -> tuple[Route, ...]:
    """What is on the metrics port, which asks for no credential."""
    return (*metrics.routes(of_metrics, access=PUBLIC), *health.routes(of_health))
