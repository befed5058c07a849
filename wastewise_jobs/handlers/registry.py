"""The registry of handlers: which function does the work of which job type.

    jobs = Jobs()

    @jobs.handler("send_bill", queue="mail", timeout=60)
    async def send_bill(job: JobContext, input: Bill) -> dict[str, str]: ...

    await send_bill.enqueue(Bill(...), user_id=user)

The decorated name is a `Handler`. Everything that can be wrong with it is refused where its
module is imported, not when the first job runs.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Literal, ParamSpec, TypeVar

from wastewise_jobs.handlers.binding import Bindable
from wastewise_jobs.handlers.handler import Handler
from wastewise_jobs.handlers.options import (
    DEFAULT_MAX_RETRIES,
    DEFAULT_PRIORITY,
    DEFAULT_TIMEOUT,
    Options,
    RunIn,
)
from wastewise_jobs.handlers.signature import Signature, read_signature
from wastewise_jobs.jobs.model import (
    DEFAULT_QUEUE,
    LEAST_URGENT,
    MAX_RETRIES_LIMIT,
    MAX_TIMEOUT,
    MOST_URGENT,
    JobTypeInfo,
)

P = ParamSpec("P")
R = TypeVar("R")
AnyHandler = Handler[Any, Any]

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")


class Jobs(Bindable):
    """The handlers of an application; a worker is given one of these."""

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[str, AnyHandler] = {}

    def handler(
        self,
        job_type: str,
        *,
        queue: str = DEFAULT_QUEUE,
        timeout: timedelta | float | None = None,
        max_retries: int | None = None,
        priority: int = DEFAULT_PRIORITY,
        run_in: Literal["loop", "thread", "process"] | None = None,
        description: str = "",
        needs_project: bool = False,
        admin_only: bool = False,
    ) -> Callable[[Callable[P, R]], Handler[P, R]]:
        """Make a function the handler of `job_type`.

        `timeout` (a timedelta or seconds) counts from the start of the handler. `run_in` is the
        loop for `async def` and a thread for a plain function, unless given. A handler that runs
        in a process is imported there by module and name. `admin_only` keeps users from enqueueing
        it over HTTP. Without `timeout` and `max_retries` the
        settings of the worker's process count.
        """

        def register(function: Callable[P, R]) -> Handler[P, R]:
            signature = read_signature(function)
            options = Options(
                queue=queue,
                priority=priority,
                timeout=timeout if isinstance(timeout, timedelta | None) else _duration(timeout),
                max_retries=max_retries,
                run_in=_run_in(function, signature, run_in),
                description=description or _first_line(function.__doc__),
                needs_project=needs_project,
                admin_only=admin_only,
            )
            _check(job_type, options)
            handler = Handler(job_type, function, signature, options, self)
            self._add(handler)
            return handler

        return register

    def include(self, other: "Jobs") -> None:
        """Carry the handlers of another registry too; they enqueue where this one does."""
        for handler in other:
            self._add(handler)
        other.bind_like(self)

    def job_types(
        self,
        *,
        default_timeout: timedelta = DEFAULT_TIMEOUT,
        default_max_retries: int = DEFAULT_MAX_RETRIES,
    ) -> list[JobTypeInfo]:
        """What to register in the database about these handlers."""
        return [
            handler.info(default_timeout=default_timeout, default_max_retries=default_max_retries)
            for handler in self
        ]

    def get(self, job_type: str) -> AnyHandler | None:
        """The handler of that job type."""
        return self._handlers.get(job_type)

    def __iter__(self) -> Iterator[AnyHandler]:
        return iter(self._handlers.values())

    def __len__(self) -> int:
        return len(self._handlers)

    def _add(self, handler: AnyHandler) -> None:
        held = self._handlers.setdefault(handler.job_type, handler)
        if held is not handler:
            raise ValueError(f"job type {handler.job_type!r} has a handler already: {held!r}")


def _duration(seconds: timedelta | float) -> timedelta:
    return seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)


def _run_in(function: Callable[..., object], signature: Signature, wanted: str | None) -> RunIn:
    chosen = RunIn(wanted or ("loop" if signature.is_async else "thread"))
    name = function.__qualname__
    if chosen is RunIn.LOOP and not signature.is_async:
        raise TypeError(f"handler {name} is not async: it would block the loop; use a thread")
    if chosen is RunIn.THREAD and signature.is_async:
        raise TypeError(f"handler {name} is async: it runs in the loop or in a process")
    if chosen is RunIn.PROCESS and "<locals>" in name:
        raise TypeError(f"handler {name} cannot be imported by name, as a process must")
    return chosen


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n")[0].strip()


def _check(job_type: str, options: Options) -> None:
    for what, name in (("job type", job_type), ("queue", options.queue)):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{what} {name!r} must match {_NAME.pattern}")
    if options.timeout is not None and not timedelta(0) < options.timeout <= MAX_TIMEOUT:
        raise ValueError(f"timeout of {job_type} must be positive and at most {MAX_TIMEOUT}")
    if options.max_retries is not None and not 0 <= options.max_retries <= MAX_RETRIES_LIMIT:
        raise ValueError(f"max_retries of {job_type} must be 0 to {MAX_RETRIES_LIMIT}")
    if not MOST_URGENT <= options.priority <= LEAST_URGENT:
        raise ValueError(f"priority of {job_type} must be {MOST_URGENT} to {LEAST_URGENT}")
