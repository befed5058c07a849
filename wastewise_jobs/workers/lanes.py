"""Slots and lanes: how many jobs may run at once, and where the next ones are claimed from."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from wastewise_jobs.db.wake import Wake
from wastewise_jobs.handlers.options import RunIn
from wastewise_jobs.handlers.registry import AnyHandler

# More in one statement gains nothing.
MOST_CLAIMED_TOGETHER = 250
_TOO_FEW_TO_SPLIT = 8


class Slots:
    """A number of slots that one or more lanes share."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.free = capacity
        self.lanes: list[Lane] = []


class LastChance:
    """The one place in a worker for a job on its last chance: no process runs two of them.

    So when a process dies, at most one job ends for it, whatever else ran there.
    """

    def __init__(self) -> None:
        self._taken = False
        self._denied: set[Wake] = set()

    def take(self, wake: Wake) -> bool:
        """Reserve the place before a claim; if a job has it, `wake` is hinted when that ends."""
        if self._taken:
            self._denied.add(wake)
            return False
        self._taken = True
        return True

    def give_back(self) -> None:
        """No such job was there to claim.

        Nobody is hinted: what another lane was denied meanwhile hardly ever exists, and the next
        poll finds it.
        """
        self._taken = False

    def ended(self) -> None:
        """The job that had it is settled."""
        self._taken = False
        for wake in self._denied:
            wake.hint()
        self._denied.clear()


class Lane:
    """Jobs of some types in some queues (None: all queues), claimed against the same slots."""

    def __init__(
        self,
        run_in: RunIn,
        queues: Sequence[str] | None,
        job_types: Sequence[str],
        slots: Sequence[Slots],
    ) -> None:
        self.run_in = run_in
        self.queues = queues
        self.job_types = tuple(job_types)
        self.freed = asyncio.Event()
        self.slots = tuple(slots)
        for shared in slots:
            shared.lanes.append(self)

    @property
    def name(self) -> str:
        """For logs and names of tasks."""
        return self.run_in.value + (f" {','.join(self.queues)}" if self.queues else "")

    @property
    def capacity(self) -> int:
        """How many of its jobs can run at once."""
        return min(slots.capacity for slots in self.slots)

    @property
    def free(self) -> int:
        """How many more may be claimed now."""
        return min(slots.free for slots in self.slots)

    @property
    def most_at_once(self) -> int:
        """A claim takes half of the lane, so that the next one overlaps with its settling."""
        capacity = self.capacity
        half = capacity if capacity < _TOO_FEW_TO_SPLIT else (capacity + 1) // 2
        return min(half, MOST_CLAIMED_TOGETHER)

    def take(self, count: int) -> None:
        """Reserve slots, before the claim is sent."""
        for slots in self.slots:
            slots.free -= count

    def give_back(self, count: int) -> None:
        """Free slots: their jobs are settled, or were not there to claim."""
        if count:
            for slots in self.slots:
                slots.free += count
                for lane in slots.lanes:
                    lane.freed.set()

    def serves(self, queue: str, job_type: str) -> bool:
        """Whether a job of this kind could be claimed here."""
        return job_type in self.job_types and (self.queues is None or queue in self.queues)


def make_lanes(
    handlers: Iterable[AnyHandler],
    *,
    capacities: Mapping[RunIn, int],
    queues: Mapping[str, int | None] | None,
) -> list[Lane]:
    """One lane for each place where handlers run, and one more for each queue with a limit.

    `queues` None means all queues; a limit counts for all jobs of its queue, wherever they run.
    """
    limits = {name: Slots(limit) for name, limit in (queues or {}).items() if limit is not None}
    open_queues = None if queues is None else [name for name in queues if name not in limits]
    by_place: dict[RunIn, list[str]] = {}
    for handler in handlers:
        by_place.setdefault(handler.options.run_in, []).append(handler.job_type)
    lanes: list[Lane] = []
    for run_in, job_types in by_place.items():
        shared = Slots(capacities[run_in])
        if open_queues is None or open_queues:
            lanes.append(Lane(run_in, open_queues, job_types, [shared]))
        lanes += [
            Lane(run_in, [name], job_types, [shared, limit]) for name, limit in limits.items()
        ]
    return lanes
