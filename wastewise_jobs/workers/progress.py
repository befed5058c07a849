"""Writes how far runs are: only the newest of each, a few times a second, all together."""

import asyncio
import contextlib
import threading
from collections.abc import Callable

import asyncpg

from wastewise_jobs.jobs.model import Progress
from wastewise_jobs.jobs.storable import clean_text
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.logs import get_logger
from wastewise_jobs.workers.run import Run, StopReason

log = get_logger(__name__)

FLUSH_EVERY_SECONDS = 0.1
_LONGEST_STEP_BYTES = 500
_AFTER_ERROR_SECONDS = 1.0


class ProgressBoard:
    """Takes progress from any thread; `on_lost` is told of runs that turn out to have no lease.

    Not a `Loop`: without reports there is nothing to do, and a report that is lost is no news.
    """

    def __init__(self, store: JobStore, *, on_lost: Callable[[Run], None]) -> None:
        self._store = store
        self._on_lost = on_lost
        self._newest: dict[Run, Progress] = {}
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._filled = asyncio.Event()

    def put(self, run: Run, progress: Progress) -> None:
        """Remember it until the next flush."""
        with self._lock:
            first = not self._newest
            self._newest[run] = merged(self._newest.get(run), progress)
        if first:
            # A thread may outlive the loop.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._filled.set)

    async def run(self) -> None:
        """Flush until cancelled; no timer runs while nobody reports."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            try:
                await self.flush()
            except Exception as error:  # noqa: BLE001 - a loop's tick: progress is only a courtesy
                log.debug("progress_not_written", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(_AFTER_ERROR_SECONDS)
            await asyncio.sleep(FLUSH_EVERY_SECONDS)

    async def flush(self) -> None:
        """Write what was reported since the last flush; what cannot be written is dropped."""
        with self._lock:
            reports, self._newest = self._newest, {}
        # A run that is being settled holds its row, and its outcome says more. What remains names
        # each job once, as the answer does: an earlier run of a job has lost its lease.
        batch = [
            (run, progress)
            for run, progress in reports.items()
            if not run.settling and run.stopped_for is not StopReason.LEASE_LOST
        ]
        if not batch:
            return
        try:
            await self._write(batch)
        except asyncpg.PostgresError:
            # One row that somebody holds, or one odd value, harms only itself.
            for item in batch:
                with contextlib.suppress(asyncpg.PostgresError):
                    await self._write([item])

    async def _write(self, batch: list[tuple[Run, Progress]]) -> None:
        held = await self._store.progress([(run.job, progress) for run, progress in batch])
        for run, _ in batch:
            if run.job.id not in held and not run.settling and not run.context.completed:
                self._on_lost(run)


def merged(before: Progress | None, now: Progress) -> Progress:
    """The newest of everything, and no longer than it can be stored."""
    step = clean_text(now.step, _LONGEST_STEP_BYTES) if now.step is not None else None
    if before is None:
        return Progress(now.percent, step, now.steps_completed, now.total_steps)
    return Progress(
        now.percent,
        before.step if step is None else step,
        before.steps_completed if now.steps_completed is None else now.steps_completed,
        before.total_steps if now.total_steps is None else now.total_steps,
    )
