"""What a claim loop asks for, over a store that has nothing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.support.waiting import eventually
from wastewise_jobs.db.wake import Wake
from wastewise_jobs.handlers.options import RunIn
from wastewise_jobs.jobs.model import ClaimedJob
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.workers.claim import ClaimLoop
from wastewise_jobs.workers.lanes import Lane, LastChance, Slots
from wastewise_jobs.workers.stats import WorkerStats


class Empty(JobStore):
    def __init__(self) -> None:
        self.asked: list[bool] = []

    async def claim(self, *_: Any, last_chance: bool = True, **__: Any) -> list[ClaimedJob]:
        self.asked.append(last_chance)
        return []


class Bench:
    def __init__(self) -> None:
        self.store = Empty()
        self.last_chance = LastChance()
        self.nothing_due = 0
        self.loop = ClaimLoop(
            Lane(RunIn.LOOP, None, ["plain"], [Slots(2)]),
            self.store,
            worker_id="w",
            lease=timedelta(seconds=30),
            claim_at_least_every=60,
            last_chance=self.last_chance,
            stats=WorkerStats(),
            start=lambda *_: None,
            known=list,
            nothing_due=self.count,
        )

    def count(self) -> None:
        self.nothing_due += 1

    async def asked(self, times: int) -> None:
        await eventually(lambda: len(self.store.asked) == times)
        # And waits again.
        await asyncio.sleep(0)


@pytest.fixture
async def b() -> AsyncIterator[Bench]:
    bench = Bench()
    task = asyncio.create_task(bench.loop.run())
    await bench.asked(1)
    yield bench
    bench.loop.stop()
    await asyncio.wait_for(task, 5)


async def test_what_was_heard_of_and_is_not_due_leads_to_a_look(b: Bench) -> None:
    b.loop.hear()
    await b.asked(2)
    assert b.nothing_due == 1


async def test_what_a_look_found_and_cannot_be_claimed_leads_to_no_other_look(b: Bench) -> None:
    b.loop.wake.hint()
    await b.asked(2)
    assert b.nothing_due == 0


async def test_the_place_for_a_last_chance_is_asked_for_once_it_is_free(b: Bench) -> None:
    other = Wake()
    assert b.last_chance.take(other)
    b.loop.wake.hint()
    await b.asked(2)
    b.last_chance.ended()
    await b.asked(3)
    assert b.store.asked == [True, False, True]
