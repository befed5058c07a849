"""Runs a coroutine to its end, signals included.

SIGINT, SIGTERM and SIGHUP (the terminal was closed) cancel it, as pid 1 and during the start too,
so that whatever it opened is closed: an embedded server would otherwise go on running. Commands
that drain pass their own `on_signal`.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_LAST_TASKS_SECONDS = 1.0


def run(
    main: Coroutine[Any, Any, T],
    *,
    loop: str = "uvloop",
    on_signal: Callable[["asyncio.Task[Any]"], None] | None = None,
) -> T:
    """The coroutine's value. Raises KeyboardInterrupt when a signal ended it."""
    asked_to_stop = False

    async def supervised() -> T:
        task = asyncio.create_task(main, name="main")

        def act() -> None:
            nonlocal asked_to_stop
            asked_to_stop = True
            if on_signal is None:
                task.cancel()
            else:
                on_signal(task)

        running = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup wants the process to outlive its terminal.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                running.add_signal_handler(number, act)
        return await task

    runner = asyncio.Runner(loop_factory=loop_factory(loop))
    try:
        return runner.run(supervised())
    except asyncio.CancelledError:
        if asked_to_stop:
            raise KeyboardInterrupt from None
        raise
    finally:
        # close() waits for every task, and a handler may swallow its cancellation for ever.
        if runner.run(_everything_ends()):
            runner.close()


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
