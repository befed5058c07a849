"""How each handler is called: in the loop, in a thread, or in a child process."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from wastewise_jobs.handlers.context import JobContext
from wastewise_jobs.handlers.options import RunIn
from wastewise_jobs.handlers.registry import AnyHandler
from wastewise_jobs.workers.places.processes import Processes
from wastewise_jobs.workers.places.threads import Threads
from wastewise_jobs.workers.run import Entry, HandlerCall


def make_entries(
    handlers: Iterable[AnyHandler], threads: Threads, processes: Processes
) -> dict[str, Entry]:
    """By job type."""
    return {handler.job_type: _entry(handler, threads, processes) for handler in handlers}


def _entry(handler: AnyHandler, threads: Threads, processes: Processes) -> Entry:
    wants_input = handler.signature.wants_input
    match handler.options.run_in:
        case RunIn.LOOP:
            function = handler.function
        case RunIn.THREAD:
            function = partial(threads.call, handler.function)
        case RunIn.PROCESS:
            return Entry(handler, handler.function, wants_input, processes.execute)
    return Entry(handler, function if wants_input else _without_input(function), wants_input)


def _without_input(function: Callable[..., Awaitable[object]]) -> HandlerCall:
    def call(context: JobContext, _input: object) -> Awaitable[object]:
        return function(context)

    return call
