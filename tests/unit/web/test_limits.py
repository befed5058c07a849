from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wastewise_jobs.web.http.caller import ADMIN, READ, WRITE, Caller
from wastewise_jobs.web.http.limits import Gate, Gcra
from wastewise_jobs.web.http.problems import TOO_MANY_STREAMS, ProblemError

ANN, BOB = UUID(int=1), UUID(int=2)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_worth_may_come_at_once_and_then_one_by_one() -> None:
    clock = Clock()
    gcra = Gcra(4, clock=clock)
    assert [gcra.admit(ANN).remaining for _ in range(4)] == [3, 2, 1, 0]
    refused = gcra.admit(ANN)
    assert (refused.admitted, refused.retry_after, refused.reset_after) == (False, 15.0, 60.0)
    assert gcra.admit(BOB).admitted
    clock.now += 15
    assert gcra.admit(ANN).admitted
    assert not gcra.admit(ANN).admitted
    clock.now += 60
    assert gcra.admit(ANN).remaining == 3


@given(
    st.integers(1, 50),
    st.lists(st.floats(0, 30, allow_nan=False, allow_infinity=False), max_size=200),
)
def test_no_window_ever_lets_in_more_than_twice_the_rate(rate: int, pauses: list[float]) -> None:
    clock = Clock()
    gcra = Gcra(rate, clock=clock)
    let_in = []
    for pause in pauses:
        clock.now += pause
        verdict = gcra.admit(ANN)
        if verdict.admitted:
            let_in.append(clock.now)
        else:
            assert 0 < verdict.retry_after <= 60 / rate + 1e-3
    for moment in let_in:
        assert sum(moment <= other <= moment + 59.9 for other in let_in) <= 2 * rate


def test_waiting_as_long_as_told_is_enough() -> None:
    clock = Clock()
    gcra = Gcra(7, clock=clock)
    for _ in range(100):
        verdict = gcra.admit(ANN)
        if not verdict.admitted:
            clock.now += verdict.retry_after
            assert gcra.admit(ANN).admitted


def test_what_is_given_back_can_be_had_again() -> None:
    clock = Clock()
    gcra = Gcra(2, clock=clock)
    gcra.admit(ANN)
    gcra.admit(ANN)
    assert gcra.give_back(ANN).remaining == 1
    assert gcra.admit(ANN).remaining == 0
    assert not gcra.admit(ANN).admitted
    clock.now += 600
    assert gcra.give_back(ANN).remaining == 2


def test_a_gate_counts_each_user_and_forgets_who_left() -> None:
    gate = Gate(2, TOO_MANY_STREAMS, "streams")
    ann, bob = Caller(ANN, frozenset()), Caller(BOB, frozenset())
    with (
        gate.enter(ann),
        gate.enter(ann),
        gate.enter(bob),
        pytest.raises(ProblemError, match="at most 2 streams at once"),
        gate.enter(ann),
    ):
        pass
    with gate.enter(ann):
        pass
    assert not gate._inside


def test_a_scope_covers_itself_and_admin_covers_all() -> None:
    assert Caller(ANN, frozenset({READ})).may(READ)
    assert not Caller(ANN, frozenset({READ})).may(WRITE)
    assert not Caller(ANN, frozenset({WRITE})).may(READ)
    assert Caller(ANN, frozenset({ADMIN})).may(WRITE)
    assert Caller(ANN, frozenset({ADMIN})).sees_only is None
    assert Caller(ANN, frozenset({READ, WRITE})).sees_only == ANN
