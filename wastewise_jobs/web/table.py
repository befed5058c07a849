"""The route table: every address of the service, who may use it, and what it can answer."""

import math

from wastewise_jobs.web.api.admin import AdminResource
from wastewise_jobs.web.api.docs import DocsResource
from wastewise_jobs.web.api.events import EventsResource
from wastewise_jobs.web.api.health import HealthResource
from wastewise_jobs.web.api.job_data import XLSX, JobDataResource
from wastewise_jobs.web.api.jobs import LONGEST_WAIT_SECONDS, JobsResource
from wastewise_jobs.web.api.metrics import MetricsResource
from wastewise_jobs.web.api.monitoring import MonitoringResource
from wastewise_jobs.web.api.projects import UPLOAD_SECONDS, FilesResource, ProjectsResource
from wastewise_jobs.web.http import problems as no
from wastewise_jobs.web.http.caller import ADMIN, READ, WRITE
from wastewise_jobs.web.http.route import JSON, PUBLIC, Route
from wastewise_jobs.wire.jobs import (
    AnalyzeAnswer,
    CancelAnswer,
    JobAnswer,
    JobList,
    JobRows,
    JobTypeList,
    RetryAnswer,
)
from wastewise_jobs.wire.keys import KeyList, KeyMade
from wastewise_jobs.wire.monitoring import MonitoringAnswer, TrendAnswer, WorkersAnswer
from wastewise_jobs.wire.projects import (
    FileAnswer,
    FileList,
    ProjectAnswer,
    ProjectDetails,
    ProjectList,
)
from wastewise_jobs.wire.types import HealthAnswer

JOBS, PROJECTS, ADMINS, SERVICE = "Jobs", "Projects", "Admin", "Service"
_REFUSED_BY_CONSTRAINTS = (
    no.CONSTRAINT_VIOLATED,
    no.INPUT_NOT_STORABLE,
    no.KEY_RELEASED,
    no.PROJECT_GONE,
    no.USER_UNKNOWN,
)


def job_routes(
    jobs: JobsResource, data: JobDataResource, streams: EventsResource
) -> tuple[Route, ...]:
    """Everything about jobs."""
    return (
        Route(
            "POST",
            "/api/analyze",
            jobs.create,
            WRITE,
            "Create a job",
            answers={200: AnalyzeAnswer, 201: AnalyzeAnswer},
            refusals=(
                no.UNKNOWN_JOB_TYPE,
                no.INVALID_INPUT,
                no.PROJECT_REQUIRED,
                no.PROJECT_NOT_FOUND,
                no.IDEMPOTENCY_CONFLICT,
                no.JOB_TYPE_REFUSED,
                no.OVERLOADED,
                no.TOO_MANY_ENQUEUES,
                no.BUSY,
                no.QUOTA_EXCEEDED,
                *_REFUSED_BY_CONSTRAINTS,
            ),
            tag=JOBS,
            body_limit=512 * 1024,
            request_headers={
                "Idempotency-Key": "the same request with the same key makes one job only"
            },
            rate_limited=True,
            located=True,
        ),
        Route(
            "GET",
            "/api/jobs",
            jobs.list_jobs,
            READ,
            "List jobs, newest first; admins see everybody's",
            answers={200: JobList},
            refusals=(no.INVALID_CURSOR,),
            tag=JOBS,
        ),
        Route(
            "GET",
            "/api/jobs/{id}",
            jobs.get,
            READ,
            "Look at a job, or wait until it has finished",
            answers={200: JobAnswer},
            refusals=(no.JOB_NOT_FOUND, no.TOO_MANY_WAITS),
            tag=JOBS,
            time_limit=LONGEST_WAIT_SECONDS + 30.0,
        ),
        Route(
            "DELETE",
            "/api/jobs/{id}",
            jobs.cancel,
            WRITE,
            "Cancel a job: 200 cancelled now, 202 its worker is asked to stop",
            answers={200: CancelAnswer, 202: CancelAnswer},
            refusals=(no.JOB_NOT_FOUND, no.JOB_FINISHED),
            tag=JOBS,
        ),
        Route(
            "POST",
            "/api/jobs/{id}/cancel",
            jobs.cancel,
            WRITE,
            "Cancel a job: 200 cancelled now, 202 its worker is asked to stop",
            answers={200: CancelAnswer, 202: CancelAnswer},
            refusals=(no.JOB_NOT_FOUND, no.JOB_FINISHED),
            tag=JOBS,
        ),
        Route(
            "POST",
            "/api/jobs/{id}/retry",
            jobs.retry,
            WRITE,
            "Send a failed job round again, with all its retries",
            answers={200: RetryAnswer},
            refusals=(no.JOB_NOT_FOUND, no.JOB_NOT_FAILED, no.QUOTA_EXCEEDED),
            tag=JOBS,
        ),
        Route(
            "GET",
            "/api/jobs/{id}/events",
            streams.events,
            READ,
            "Follow a job: server-sent events status and progress, with the whole job in each",
            answers={200: "text/event-stream", 204: None},
            refusals=(no.JOB_NOT_FOUND, no.TOO_MANY_STREAMS),
            tag=JOBS,
            time_limit=math.inf,
            request_headers={"Last-Event-ID": "the id of the last event that was seen"},
            also_head=False,
        ),
        Route(
            "GET",
            "/api/jobs/{id}/rows",
            data.rows,
            READ,
            "The rows that a job extracted, in order",
            answers={200: JobRows},
            refusals=(no.JOB_NOT_FOUND, no.INVALID_CURSOR),
            tag=JOBS,
        ),
        Route(
            "GET",
            "/api/jobs/{id}/reports/{format}",
            data.report,
            READ,
            "A report of a job",
            answers={200: f"text/html, {XLSX}"},
            refusals=(no.JOB_NOT_FOUND, no.REPORT_NOT_FOUND, no.TOO_MANY_DOWNLOADS),
            tag=JOBS,
            time_limit=math.inf,
        ),
    )


def project_routes(projects: ProjectsResource, files: FilesResource) -> tuple[Route, ...]:
    """Everything about properties and their files."""
    return (
        Route(
            "POST",
            "/api/projects",
            projects.create,
            WRITE,
            "Create a property",
            answers={201: ProjectAnswer},
            refusals=(no.CONSTRAINT_VIOLATED, no.QUOTA_EXCEEDED),
            located=True,
            tag=PROJECTS,
        ),
        Route(
            "GET",
            "/api/projects",
            projects.list_projects,
            READ,
            "List properties, newest first; admins see everybody's",
            answers={200: ProjectList},
            refusals=(no.INVALID_CURSOR,),
            tag=PROJECTS,
        ),
        Route(
            "GET",
            "/api/projects/{id}",
            projects.get,
            READ,
            "Look at a property",
            answers={200: ProjectDetails},
            refusals=(no.PROJECT_NOT_FOUND,),
            tag=PROJECTS,
        ),
        Route(
            "DELETE",
            "/api/projects/{id}",
            projects.delete,
            WRITE,
            "Delete a property with its files and finished jobs",
            answers={204: None},
            refusals=(no.PROJECT_NOT_FOUND, no.PROJECT_BUSY, no.CONSTRAINT_VIOLATED),
            tag=PROJECTS,
        ),
        Route(
            "GET",
            "/api/projects/{id}/files",
            files.list_files,
            READ,
            "List the files of a property",
            answers={200: FileList},
            refusals=(no.PROJECT_NOT_FOUND,),
            tag=PROJECTS,
        ),
        Route(
            "PUT",
            "/api/projects/{id}/files/{filename}",
            files.put,
            WRITE,
            "Store the body, at most 10 MiB, as a file: 201 new, 200 replaced",
            answers={200: FileAnswer, 201: FileAnswer},
            refusals=(
                no.PROJECT_NOT_FOUND,
                no.EMPTY_FILE,
                no.TOO_MANY_FILES,
                no.TOO_MANY_UPLOADS,
                no.QUOTA_EXCEEDED,
                no.CONSTRAINT_VIOLATED,
            ),
            located=True,
            tag=PROJECTS,
            time_limit=UPLOAD_SECONDS + 60.0,
        ),
        Route(
            "GET",
            "/api/projects/{id}/files/{filename}",
            files.get,
            READ,
            "The content of a file, of the media type that it was stored with",
            answers={200: "*/*"},
            refusals=(no.PROJECT_NOT_FOUND, no.FILE_NOT_FOUND, no.TOO_MANY_DOWNLOADS),
            tag=PROJECTS,
            time_limit=math.inf,
        ),
        Route(
            "DELETE",
            "/api/projects/{id}/files/{filename}",
            files.delete,
            WRITE,
            "Delete a file",
            answers={204: None},
            refusals=(no.PROJECT_NOT_FOUND, no.FILE_NOT_FOUND),
            tag=PROJECTS,
        ),
    )


def admin_routes(admin: AdminResource) -> tuple[Route, ...]:
    """What only admins may do."""
    return (
        Route(
            "POST",
            "/api/admin/keys",
            admin.create_key,
            ADMIN,
            "Make an API key; its text is shown this once",
            answers={201: KeyMade},
            tag=ADMINS,
        ),
        Route(
            "GET",
            "/api/admin/keys",
            admin.list_keys,
            ADMIN,
            "List API keys",
            answers={200: KeyList},
            tag=ADMINS,
        ),
        Route(
            "DELETE",
            "/api/admin/keys/{id}",
            admin.revoke_key,
            ADMIN,
            "Revoke an API key; it stops working within five seconds",
            answers={204: None},
            refusals=(no.KEY_NOT_FOUND,),
            tag=ADMINS,
        ),
        Route(
            "GET",
            "/api/admin/job-types",
            admin.job_types,
            ADMIN,
            "List the job types with their input schemas",
            answers={200: JobTypeList},
            tag=ADMINS,
        ),
        Route(
            "DELETE",
            "/api/admin/job-types/{jobType}",
            admin.retire_job_type,
            ADMIN,
            "Retire a job type: no new jobs until a worker registers it again",
            answers={204: None},
            refusals=(no.JOB_TYPE_NOT_FOUND,),
            tag=ADMINS,
        ),
    )


def monitoring_routes(monitoring: MonitoringResource) -> tuple[Route, ...]:
    """Numbers, for admins."""
    return (
        Route(
            "GET",
            "/api/admin/jobs/monitoring",
            monitoring.queue,
            ADMIN,
            "The queue in numbers: what waits, what runs, what finished",
            answers={200: MonitoringAnswer},
            tag=ADMINS,
        ),
        Route(
            "GET",
            "/api/admin/jobs/trends",
            monitoring.trends,
            ADMIN,
            "What finished, bucket by bucket; outlives the jobs themselves",
            answers={200: TrendAnswer},
            tag=ADMINS,
        ),
        Route(
            "GET",
            "/api/admin/workers/health",
            monitoring.workers,
            ADMIN,
            "Who works, and whether the work moves",
            answers={200: WorkersAnswer},
            tag=ADMINS,
        ),
    )


def metrics_port_routes(metrics: MetricsResource, health: HealthResource) -> tuple[Route, ...]:
    """What is on the metrics port, which asks for no credential."""
    return (_metrics_route(metrics, PUBLIC), *_probe_routes(health))


def service_routes(
    health: HealthResource, docs: DocsResource, metrics: MetricsResource
) -> tuple[Route, ...]:
    """What the service says of itself; but for the numbers, to anybody."""
    return (
        _metrics_route(metrics, ADMIN),
        *_probe_routes(health),
        Route(
            "GET",
            "/openapi.json",
            docs.openapi,
            PUBLIC,
            "This description",
            answers={200: JSON},
            tag=SERVICE,
        ),
        Route(
            "GET",
            "/docs",
            docs.page,
            PUBLIC,
            "This description as a page",
            answers={200: "text/html", 304: None},
            tag=SERVICE,
        ),
        Route(
            "GET",
            "/docs/{asset}",
            docs.asset,
            PUBLIC,
            "A file of that page",
            answers={200: "text/javascript, text/css, image/png", 304: None},
            refusals=(no.NOT_FOUND,),
            tag=SERVICE,
        ),
    )


def _metrics_route(metrics: MetricsResource, access: str) -> Route:
    return Route(
        "GET",
        "/metrics",
        metrics.metrics,
        access,
        "Every number, for Prometheus",
        answers={200: "text/plain"},
        tag=SERVICE,
    )


def _probe_routes(health: HealthResource) -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            "/livez",
            health.livez,
            PUBLIC,
            "Is the process alive?",
            answers={200: HealthAnswer, 503: HealthAnswer},
            tag=SERVICE,
        ),
        Route(
            "GET",
            "/readyz",
            health.readyz,
            PUBLIC,
            "Can it do its work?",
            answers={200: HealthAnswer, 503: HealthAnswer},
            tag=SERVICE,
        ),
    )
