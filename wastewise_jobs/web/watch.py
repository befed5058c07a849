"""One look at the database per interval for everybody in this process who watches jobs.

Long polls and event streams subscribe here. While nobody watches there is no query at all.
"""

import asyncio
import contextlib
import contextvars
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from wastewise_jobs.jobs.model import JobView
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.logs import get_logger

INTERVAL_SECONDS = 0.1
_PAUSE_AFTER_FAILURE_SECONDS = 1.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_log = get_logger(__name__)


def version(view: JobView) -> str:
    """A word that changes whenever what a watcher sees of the job changes.

    It is made of the row alone, so that a stream that breaks in one process can be resumed in
    another: the time of the last change, and a checksum for changes within one microsecond.
    """
    seen = (
        view.status,
        view.progress_percent,
        view.current_step,
        view.steps_completed,
        view.total_steps,
        view.retry_count,
        view.worker_id,
        view.cancel_requested_at,
    )
    microseconds = ((view.updated_at or _EPOCH) - _EPOCH) // timedelta(microseconds=1)
    return f"{microseconds:x}-{zlib.crc32(repr(seen).encode('utf-8', 'replace')):08x}"


class Watch:
    """One watcher of one job: the newest state it has not taken yet."""

    def __init__(self, known_version: str) -> None:
        self._known_version = known_version
        self._newest: JobView | None = None
        self._ended = False
        self._changed = asyncio.Event()

    async def next(self) -> JobView | None:
        """Wait for a state that was not seen yet; None when there will be no more of them.

        A finished job comes with its result, any other without.
        """
        await self._changed.wait()
        self._changed.clear()
        view, self._newest = self._newest, None
        if view is None and self._ended:
            self._changed.set()
        return view

    def awaits(self, view: JobView) -> bool:
        """Whether this state would be news."""
        return version(view) != self._known_version

    def offer(self, view: JobView) -> None:
        """Show the job as it is now."""
        now = version(view)
        if now != self._known_version:
            self._known_version = now
            self._newest = view
            self._changed.set()

    def end(self) -> None:
        """Say that nothing more will come: the job is gone, or the process stops."""
        self._ended = True
        self._changed.set()


class JobWatcher:
    """Looks for all watchers at once. `queries` counts the looks.

    Not a `Loop`: it lives while somebody watches, and nothing hangs on its beat.
    """

    def __init__(self, store: JobStore, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._store = store
        self._interval_seconds = interval_seconds
        self._watches: dict[UUID, set[Watch]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._stopped = False
        self.queries = 0

    @contextlib.contextmanager
    def watch(self, view: JobView) -> Iterator[Watch]:
        """Watch the job on from the state that the caller has seen."""
        watch = Watch(version(view))
        if self._stopped:
            watch.end()
        self._watches.setdefault(view.id, set()).add(watch)
        if self._looking is None and not self._stopped:
            # In nobody's context: the look is not part of the request that happens to start it.
            self._looking = asyncio.create_task(
                self._look_on(), name="watch jobs", context=contextvars.Context()
            )
        try:
            yield watch
        finally:
            self._watches[view.id].discard(watch)
            if not self._watches[view.id]:
                del self._watches[view.id]

    async def stop(self) -> None:
        """End every watch, now and from now on."""
        self._stopped = True
        for watches in self._watches.values():
            for watch in watches:
                watch.end()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look_on(self) -> None:
        failing = False
        try:
            while self._watches:
                try:
                    await self._look()
                except Exception as error:  # noqa: BLE001 - a loop's tick: watchers wait for the next one
                    if not failing:
                        _log.warning("watch_failed", error=type(error).__name__)
                    failing = True
                    await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)
                else:
                    if failing:
                        _log.info("watch_recovered")
                    failing = False
                    await asyncio.sleep(self._interval_seconds)
        finally:
            self._looking = None

    async def _look(self) -> None:
        watched = list(self._watches)
        self.queries += 1
        found: dict[UUID, JobView] = {view.id: view for view in await self._store.views(watched)}
        for job_id in watched:
            watches = self._watches.get(job_id, set())
            view = found.get(job_id)
            if view is not None and view.status.finished and any(w.awaits(view) for w in watches):
                # The result, once for all of them.
                view = await self._store.get(job_id, user_id=None)
            # A copy: a watcher may have gone while the result was on its way.
            for watch in tuple(watches):
                if view is None:
                    watch.end()
                else:
                    watch.offer(view)
