"""Watches a worker's event loop from outside: how late it answers, and what blocks it.

A loop is hung when none of the handlers that may block it can still end in time: then nothing is
claimed, settled or cancelled any more, and only a new process helps.
"""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable

from wastewise_jobs.handlers.options import RunIn
from wastewise_jobs.logs import get_logger
from wastewise_jobs.workers.run import Run
from wastewise_jobs.workers.stats import WorkerStats

log = get_logger(__name__)

_CHECK_EVERY_SECONDS = 1.0
_SAMPLE_EVERY_SECONDS = 0.02
_BLOCKED_SECONDS = 1.0
# For what blocks the loop and is no handler's doing.
_NOBODYS_SECONDS = 60.0


class LoopWatch:
    """`run()` it in another thread's loop; make it in the thread of the loop that it watches.

    `on_hung()` is called once; `patience` are the seconds that a handler has beyond its deadline.
    """

    def __init__(
        self,
        runs: set[Run],
        *,
        patience: float,
        stats: WorkerStats,
        on_hung: Callable[[], object],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._runs = runs
        self._patience = patience
        self._stats = stats
        self._on_hung = on_hung
        self.lag_seconds = 0.0

    async def run(self) -> None:
        """Post to the loop and measure how late it answers, until cancelled."""
        while True:
            answered = threading.Event()
            try:
                self._loop.call_soon_threadsafe(answered.set)
            except RuntimeError:
                return
            await self._until(answered)
            await asyncio.sleep(_CHECK_EVERY_SECONDS)

    async def _until(self, answered: threading.Event) -> None:
        sent = time.monotonic()
        samples = 0
        blocked = hung = False
        while not answered.is_set():
            await asyncio.sleep(_SAMPLE_EVERY_SECONDS)
            samples += 1
            self._note_lag(time.monotonic() - sent)
            if self.lag_seconds > _BLOCKED_SECONDS and not blocked:
                blocked = True
                log.warning("loop_blocked", **self._blocker())
            # Counted in samples: a process that was stopped as a whole has blocked nothing.
            patient = samples * _SAMPLE_EVERY_SECONDS < self._patience
            if not (patient or hung) and time.monotonic() > self._last_deadline(sent):
                hung = True
                log.error("loop_hung", **self._blocker())
                self._on_hung()
        self._note_lag(time.monotonic() - sent)
        if blocked:
            log.info("loop_unblocked", after_seconds=round(self.lag_seconds, 3))

    def _note_lag(self, seconds: float) -> None:
        self.lag_seconds = seconds
        longest = self._stats.longest_loop_lag_seconds
        self._stats.longest_loop_lag_seconds = max(longest, seconds)

    def _last_deadline(self, since: float) -> float:
        run = self._blocking_run()
        runs = [run] if run else [run for run in list(self._runs) if _in_loop(run)]
        last = max((run.deadline for run in runs), default=since + _NOBODYS_SECONDS)
        return last + self._patience

    def _blocking_run(self) -> Run | None:
        """Whose turn it is in the loop; None when that is no handler itself."""
        task = asyncio.current_task(self._loop)
        return next((run for run in list(self._runs) if run.task is task), None) if task else None

    def _blocker(self) -> dict[str, object]:
        """The handler, and the innermost frames of the loop's thread, without any values."""
        run = self._blocking_run()
        job = run.facts() if run else {}
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - the documented way
        stack = traceback.extract_stack(frame)[-5:] if frame else []
        return job | {
            "at": [f"{entry.filename}:{entry.lineno} {entry.name}" for entry in stack[::-1]]
        }


def _in_loop(run: Run) -> bool:
    return run.entry.handler.options.run_in is RunIn.LOOP
