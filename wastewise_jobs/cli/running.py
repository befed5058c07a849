"""Runs a coroutine to its end, signals included.

SIGINT, SIGTERM and SIGHUP (the terminal was closed) cancel it, as pid 1 and during the start too,
so that whatever it opened is closed: an embedded server would otherwise go on running. Commands
that drain pass their own `Stop`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from wastewise_jobs.cli.signals import heard_signals
from wastewise_jobs.logs import get_logger

if TYPE_CHECKING:
    from wastewise_jobs.service.shutdown import Stop

T = TypeVar("T")
log = get_logger(__name__)

_LAST_TASKS_SECONDS = 1.0


def run(main: Coroutine[Any, Any, T], *, loop: str = "uvloop", stop: "Stop | None" = None) -> T:
    """The coroutine's value. Raises KeyboardInterrupt when a signal ended it."""
    runner = asyncio.Runner(loop_factory=loop_factory(loop))
    running = runner.get_loop()
    task = running.create_task(main, name="main")
    asked_to_stop = False

    def signalled() -> None:
        nonlocal asked_to_stop
        asked_to_stop = True
        if stop is not None:
            stop.notice()
        # The loop may have been closed just now.
        with contextlib.suppress(RuntimeError):
            running.call_soon_threadsafe(task.cancel if stop is None else partial(stop.act, task))

    try:
        with heard_signals(signalled) as take_signals:
            if stop is not None:
                stop.watch(running)
            return _to_its_end(running, task, take_signals)
    except asyncio.CancelledError:
        if asked_to_stop:
            raise KeyboardInterrupt from None
        raise
    except Exception:
        if stop is not None:
            stop.failed()
        raise
    finally:
        # close() waits for every task, and a handler may swallow its cancellation for ever.
        if runner.run(_everything_ends()):
            runner.close()


def _to_its_end(
    loop: asyncio.AbstractEventLoop, task: "asyncio.Task[T]", begin: Callable[[], object]
) -> T:
    while True:
        loop.call_soon(begin)
        try:
            return loop.run_until_complete(task)
        except (KeyboardInterrupt, SystemExit):
            # Of a task that a handler started: it stopped the loop, and ends nothing but itself.
            if task.done():
                raise
            log.exception("stray_exit_ignored")


async def _everything_ends() -> bool:
    """Cancel what is left; whether all of it ended in time."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_LAST_TASKS_SECONDS)
    return all(task.done() for task in left)


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of that name where it is installed; None is asyncio's own."""
    if name != "uvloop":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
