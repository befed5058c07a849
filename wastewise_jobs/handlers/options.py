"""What the decorator of a handler said about its job type."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from wastewise_jobs.jobs.model import DEFAULT_QUEUE

DEFAULT_TIMEOUT = timedelta(minutes=10)
DEFAULT_MAX_RETRIES = 3
DEFAULT_PRIORITY = 5


class RunIn(StrEnum):
    """Where a handler runs: in the event loop, in a thread, or in a process that can be killed."""

    LOOP = "loop"
    THREAD = "thread"
    PROCESS = "process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the decorator said; None leaves it to the process's settings."""

    queue: str = DEFAULT_QUEUE
    priority: int = DEFAULT_PRIORITY
    timeout: timedelta | None = None
    max_retries: int | None = None
    run_in: RunIn = RunIn.LOOP
    description: str = ""
    needs_project: bool = False
    admin_only: bool = False
