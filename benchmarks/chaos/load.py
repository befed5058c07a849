"""Work for the fleet: a standing backlog of jobs of many types, asked for over HTTP."""

import asyncio
import random
from collections.abc import Callable, Mapping

from benchmarks.chaos.site import Site

MIX = {"work": 0.76, "in_thread": 0.08, "effect": 0.12, "block": 0.04}
_LOOK_SECONDS = 0.05
_MOST_AT_ONCE = 200
# A handler that blocks its loop makes everybody in its process wait.
_LONGEST_BLOCK_SECONDS = 0.05


async def keep_busy(
    here: Site,
    *,
    backlog: int,
    mean_seconds: float,
    enough: Callable[[int], bool],
    mix: Mapping[str, float] = MIX,
) -> int:
    """Keep so many jobs unfinished until there were enough of them; how many there were.

    `enough(fed)` says when to stop.
    """
    chance = random.Random(here.run.chance.random())
    fed = 0
    while not enough(fed):
        unfinished = await here.unfinished()
        room = 0 if unfinished is None else min(backlog - unfinished, _MOST_AT_ONCE)
        if room > 0:
            async with asyncio.TaskGroup() as group:
                for _ in range(room):
                    (job_type,) = chance.choices([*mix], [*mix.values()])
                    seconds = chance.uniform(0, 2 * mean_seconds)
                    if job_type == "block":
                        seconds = min(seconds, _LONGEST_BLOCK_SECONDS)
                    group.create_task(here.clients.enqueue(job_type, seconds=round(seconds, 3)))
            fed += room
        await asyncio.sleep(_LOOK_SECONDS)
    return fed
