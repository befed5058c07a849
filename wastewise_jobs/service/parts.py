"""What is to run in a process, and the handlers that it carries.

The built-in ones are imported where they are wanted: a worker that carries only an application's
handlers starts in half the time without them and the API.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from wastewise_jobs.errors import InvalidInputError
from wastewise_jobs.handlers.registry import Jobs
from wastewise_jobs.jobs.model import JobTypeInfo
from wastewise_jobs.logs import get_logger
from wastewise_jobs.settings import Settings

log = get_logger(__name__)


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


def warn_of_unused(queues: Iterable[str], jobs: Jobs) -> None:
    """Log the queues that no handler of this process uses."""
    used = {handler.options.queue for handler in jobs}
    # Allowed all the same: a plain INSERT may put a job into any queue.
    if unused := sorted(set(queues) - used):
        log.warning("queues_unused", queues=unused, of_handlers=sorted(used))


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
