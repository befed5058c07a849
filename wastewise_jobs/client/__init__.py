"""An async HTTP client of the service, for the command line and for other Python services.

    async with Client("http://127.0.0.1:8080", token) as client:
        project = await client.create_project(ProjectRequest(...))
        await client.upload_file(project.id, "invoices.csv", content)
        job = await client.submit("complete_analysis", project_id=project.id)
        async for seen in client.events(job.job_id):
            print(seen.progress.percent, seen.progress.current_step)

Values and answers are the models of `wastewise_jobs.wire.types`.
"""

from wastewise_jobs.client.client import FINISHED, Client, checked
from wastewise_jobs.client.errors import (
    ClientError,
    ConflictError,
    NotAuthorizedError,
    NotFoundError,
    ProblemError,
    RateLimitedError,
    ServiceError,
    ServiceUnreachableError,
    UnexpectedAnswerError,
)

__all__ = [
    "FINISHED",
    "Client",
    "ClientError",
    "ConflictError",
    "NotAuthorizedError",
    "NotFoundError",
    "ProblemError",
    "RateLimitedError",
    "ServiceError",
    "ServiceUnreachableError",
    "UnexpectedAnswerError",
    "checked",
]
