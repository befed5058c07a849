"""Where the handlers of a registry enqueue.

A handler knows this and not its registry, which knows its handlers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wastewise_jobs.jobs.batcher import Batcher
from wastewise_jobs.jobs.store import JobStore


@dataclass(frozen=True, slots=True)
class Binding:
    """Where jobs are enqueued from this process, and whom to tell (`ring` takes the queue)."""

    store: JobStore
    batcher: Batcher
    ring: Callable[[str], None]
    notifies: bool = True


class Bindable:
    """Has a binding, or that of what includes it."""

    def __init__(self) -> None:
        self._binding: Binding | None = None
        self._included_by: Bindable | None = None

    def bind(self, store: JobStore, ring: Callable[[str], None], *, notifies: bool = True) -> None:
        """Say where this process enqueues.

        `notifies` False also keeps enqueue(connection=) from sending NOTIFY.
        """
        self._binding = Binding(store, Batcher(store), ring, notifies)

    @contextmanager
    def bound(
        self, store: JobStore, ring: Callable[[str], None], *, notifies: bool = True
    ) -> Iterator[None]:
        """Bind for as long as the block lasts."""
        before = self._binding
        self.bind(store, ring, notifies=notifies)
        try:
            yield
        finally:
            self._binding = before

    def bind_like(self, other: "Bindable") -> None:
        """Enqueue where the other one does, unless bound itself."""
        self._included_by = other

    @property
    def binding(self) -> Binding:
        """Raises RuntimeError where nothing was bound."""
        found = self._find()
        if found is None:
            raise RuntimeError(
                "this process has not said where jobs are enqueued: do it inside "
                "`async with wastewise_jobs.connected(jobs):`, or pass connection="
            )
        return found

    @property
    def notifies(self) -> bool:
        """Whether NOTIFY may be sent."""
        found = self._find()
        return found is None or found.notifies

    def _find(self) -> Binding | None:
        if self._binding is None and self._included_by is not None:
            return self._included_by._find()  # noqa: SLF001 - of the same class
        return self._binding
