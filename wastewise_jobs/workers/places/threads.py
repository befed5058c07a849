"""Runs plain functions in threads that never keep the process from ending.

Our own instead of a ThreadPoolExecutor, whose threads the interpreter waits for at exit: a function
that hangs would hang the shutdown.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

_Work = Callable[[], None]


class Threads:
    """As many threads as calls at once; the worker's slots are what bounds them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle: list[SimpleQueue[_Work | None]] = []
        self._started = 0

    async def call(self, function: Callable[..., object], *args: object) -> object:
        """Return what the function returns, or raise what it raises.

        A cancelled call is not interrupted: its result is thrown away.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                result = context.run(function, *args)
            except BaseException as error:  # noqa: BLE001 - a handler's run: the caller gets it
                _post(loop, future, None, error)
            else:
                _post(loop, future, result, None)

        (self._idle.pop() if self._idle else self._start()).put(work)
        return await future

    def stop(self) -> None:
        """Let the idle threads end; a busy one ends with the process."""
        while self._idle:
            self._idle.pop().put(None)

    def _start(self) -> SimpleQueue[_Work | None]:
        self._started += 1
        inbox: SimpleQueue[_Work | None] = SimpleQueue()
        name = f"{self._name} {self._started}"
        threading.Thread(target=self._live, args=(inbox,), name=name, daemon=True).start()
        return inbox

    def _live(self, inbox: SimpleQueue[_Work | None]) -> None:
        while (work := inbox.get()) is not None:
            work()
            self._idle.append(inbox)


def _post(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[object],
    result: object,
    error: BaseException | None,
) -> None:
    try:
        loop.call_soon_threadsafe(_resolve, future, result, error)
    except RuntimeError:
        # The loop was closed: the process is ending, and nobody waits for this any more.
        return


def _resolve(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if isinstance(error, StopIteration | GeneratorExit):
        # In a coroutine these are not errors: they would end the one that awaits the future.
        error = RuntimeError(f"the handler raised {type(error).__name__}")
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
