"""wastewise-jobs: a job service on PostgreSQL. These names are what an application needs.

Loaded when first used, so that the command line need not wait for what it does not use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wastewise_jobs.errors import (
        InvalidInputError,
        JobRefusedError,
        LeaseLostError,
        PermanentError,
        RetryableError,
        WastewiseJobsError,
    )
    from wastewise_jobs.handlers.context import JobContext
    from wastewise_jobs.handlers.handler import Handler
    from wastewise_jobs.handlers.registry import Jobs
    from wastewise_jobs.service.connected import connected

__all__ = [
    "Handler",
    "InvalidInputError",
    "JobContext",
    "JobRefusedError",
    "Jobs",
    "LeaseLostError",
    "PermanentError",
    "RetryableError",
    "WastewiseJobsError",
    "connected",
]

_HOMES = {
    "Handler": "wastewise_jobs.handlers.handler",
    "JobContext": "wastewise_jobs.handlers.context",
    "Jobs": "wastewise_jobs.handlers.registry",
    "connected": "wastewise_jobs.service.connected",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names above
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "wastewise_jobs.errors")), name)
