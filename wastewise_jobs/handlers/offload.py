"""Processes for the arithmetic of the analysis, so that the event loop stays free.

A thread would share the interpreter lock with the API: ten analyses at once would starve it.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar, TypeVarTuple

from wastewise_jobs.errors import RetryableError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Offload:
    """Runs pure functions in child processes, started with the first call; `close` ends them."""

    def __init__(self, processes: int | None = None) -> None:
        self._processes = processes or os.cpu_count() or 1
        self._executor: ProcessPoolExecutor | None = None

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Return what the function returns or raise what it raises.

        The function and its values must pickle. Raises RetryableError when the process died.
        """
        executor = self._executor = self._executor or self._start()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(executor, function, *args)
        except BrokenProcessPool as error:
            # Every waiting call hears of it; the first one makes room for a new pool.
            if self._executor is executor:
                self._executor = None
            message = "the process that computed it died; it may have run out of memory"
            raise RetryableError(message, code="WORKER_PROCESS_DIED") from error

    def close(self) -> None:
        """End the processes at once: whoever still computes has lost whoever waited for it."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        # Taken before shutdown() forgets them; without this the interpreter waits for them at exit.
        processes = list((executor._processes or {}).values())  # noqa: SLF001 - public from 3.14
        executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()

    def _start(self) -> ProcessPoolExecutor:
        # Not fork: the parent has threads, sockets and an event loop.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._processes, mp_context=context, initializer=_prepare)


def _prepare() -> None:
    # Ctrl-C goes to the whole group: the parent decides when its children end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()


def _end_with_parent() -> None:
    # A killed parent closes nothing: without this its children would wait for work for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
