"""Divides a worker's handlers and queues into lanes."""

from collections.abc import Iterable, Mapping

from wastewise_jobs.handlers.options import RunIn
from wastewise_jobs.handlers.registry import AnyHandler
from wastewise_jobs.workers.slots import Lane, Slots


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
