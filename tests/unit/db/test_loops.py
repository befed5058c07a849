"""How loops tick, and how they tell that they fail and work again."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from wastewise_jobs.db import loops
from wastewise_jobs.db.loops import (
    Backoff,
    Beat,
    Loop,
    log_failed_tick,
    log_recovered,
)
from wastewise_jobs.db.wake import Wake

LOOPS = ("look", "claim", "settle", "heartbeat")


@pytest.fixture(autouse=True)
def nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "_outage", loops._SharedNews())
    monkeypatch.setattr(loops, "_failing", set())


def told(logs: list[EventDict]) -> list[tuple[str, str]]:
    return [(line["event"], line["loop"]) for line in logs if line["log_level"] != "debug"]


def test_an_outage_is_two_lines_however_many_loops_meet_it() -> None:
    with capture_logs() as logs:
        for attempt in range(3):
            for name in LOOPS:
                error = ConnectionRefusedError() if attempt else asyncpg.AdminShutdownError("bye")
                log_failed_tick(name, error, first=attempt == 0)
        for name in reversed(LOOPS):
            log_recovered(name)
    assert told(logs) == [("loop_tick_failed", "look"), ("loop_recovered", "heartbeat")]


def test_the_next_outage_is_told_again() -> None:
    with capture_logs() as logs:
        for _ in range(2):
            log_failed_tick("look", TimeoutError(), first=True)
            log_recovered("look")
    assert told(logs) == [("loop_tick_failed", "look"), ("loop_recovered", "look")] * 2


def test_a_loop_that_fails_for_a_reason_of_its_own_tells_it_itself() -> None:
    with capture_logs() as logs:
        log_failed_tick("look", ConnectionRefusedError(), first=True)
        log_failed_tick("claim", asyncpg.InsufficientPrivilegeError("no"), first=True)
        log_failed_tick("claim", asyncpg.InsufficientPrivilegeError("no"), first=False)
        log_recovered("look")
        log_recovered("claim")
    assert told(logs) == [
        ("loop_tick_failed", "look"),
        ("loop_tick_failed", "claim"),
        ("loop_recovered", "look"),
        ("loop_recovered", "claim"),
    ]


class Waits(Wake):
    """Waits for nothing, and tells how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    async def wait(self, at_most: float) -> bool:
        self.seconds.append(at_most)
        return await super().wait(0)


def made(
    name: str = "l", *, backoff: Backoff | None = None, beat: Beat | None = None
) -> tuple[Loop, Waits]:
    wake = Waits()
    return Loop(name, lambda: 7.0, wake=wake, backoff=backoff, beat=beat), wake


def in_turn(
    loop: Loop, *answers: float | Exception | None
) -> Callable[[], Awaitable[float | None]]:
    """A tick that answers so, one after the other, and stops the loop with the last one."""
    rest = list(answers)

    async def tick() -> float | None:
        answer = rest.pop(0)
        if not rest:
            loop.stop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    return tick


async def test_a_tick_says_when_the_next_one_is_or_leaves_it_to_the_loop() -> None:
    loop, wake = made()
    await loop.run(in_turn(loop, 3.0, None, 0.5))
    assert wake.seconds == [3.0, 7.0, 0.5]


async def test_a_loop_that_fails_is_told_once_and_backs_off() -> None:
    loop, wake = made(backoff=Backoff(first=1.0, cap=2.0))
    with capture_logs() as logs:
        failed = [KeyError("a bug")] * 3
        await loop.run(in_turn(loop, *failed, None, KeyError("another")))
    assert told(logs) == [
        ("loop_tick_failed", "l"),
        ("loop_recovered", "l"),
        ("loop_tick_failed", "l"),
    ]
    first, second, third, usual, again = wake.seconds
    assert 0.5 <= first <= 1.0 <= second <= 2.0
    assert 1.0 <= third <= 2.0
    assert usual == 7.0
    assert 0.5 <= again <= 1.0
    assert loop.failing


async def test_a_loop_without_a_backoff_goes_on_as_ever() -> None:
    loop, wake = made()
    with capture_logs() as logs:
        await loop.run(in_turn(loop, KeyError("a bug"), KeyError("a bug"), None))
    assert wake.seconds == [7.0] * 3
    assert told(logs) == [("loop_tick_failed", "l"), ("loop_recovered", "l")]
    assert not loop.failing


async def test_each_tick_is_a_beat() -> None:
    beat = Beat(60.0, last=float("-inf"))
    loop, _ = made(beat=beat)
    late: list[bool] = []

    async def tick() -> None:
        late.append(beat.late)
        beat.last = float("-inf")
        if len(late) == 2:
            loop.stop()

    await loop.run(tick)
    assert late == [False, False]


async def test_a_hint_ends_the_wait_and_the_tick_can_tell() -> None:
    loop = Loop("l", lambda: 3600.0)
    hinted: list[bool] = []

    async def tick() -> None:
        hinted.append(loop.hinted)
        if len(hinted) == 2:
            loop.stop()
        # While it ticks: the next look must come at once all the same.
        loop.wake.hint()

    await loop.run(tick)
    assert hinted == [False, True]


async def test_a_loop_that_was_stopped_before_does_nothing() -> None:
    loop, _ = made()
    loop.stop()
    await loop.run(in_turn(loop))


async def test_cancelled_in_a_tick_or_while_it_waits_a_loop_ends() -> None:
    entered = asyncio.Event()

    async def hang() -> None:
        entered.set()
        await asyncio.Event().wait()

    async def pass_by() -> None:
        entered.set()

    for tick in (hang, pass_by):
        entered.clear()
        task = asyncio.create_task(Loop("l", lambda: 3600.0).run(tick))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
