"""How loops tell that they fail and work again."""

import asyncpg
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from wastewise_jobs.db import loops
from wastewise_jobs.db.loops import log_failed_tick, log_recovered

LOOPS = ("look", "claim", "settle", "heartbeat")


@pytest.fixture(autouse=True)
def nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "_outage", loops._Outage())
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
