from typing import Any
from uuid import UUID

import pytest

from wastewise_jobs.web.api.creation import asked_job
from wastewise_jobs.web.http.caller import ADMIN, READ, WRITE, Caller
from wastewise_jobs.web.http.problems import ProblemError
from wastewise_jobs.wire.jobs import AnalyzeRequest

USER = Caller(UUID(int=1), frozenset({READ, WRITE}))
RULER = Caller(UUID(int=2), frozenset({READ, WRITE, ADMIN}))


def job(caller: Caller = USER, *, key: str | None = None, floor: int = 1, **body: Any) -> Any:
    request = AnalyzeRequest.model_validate({"jobType": "echo"} | body)
    return asked_job(
        request, caller=caller, keys_in_header=[] if key is None else [key], priority_floor=floor
    )


@pytest.mark.parametrize(
    ("caller", "asked", "floor", "priority"),
    [
        (USER, None, 1, None),
        (USER, None, 9, None),
        (USER, 1, 1, 1),
        (USER, 1, 4, 4),
        (USER, 4, 4, 4),
        (USER, 10, 4, 10),
        (RULER, None, 4, 1),
        (RULER, 1, 4, 1),
        (RULER, 10, 4, 10),
    ],
)
def test_who_may_ask_for_which_priority(
    caller: Caller, asked: int | None, floor: int, priority: int | None
) -> None:
    assert job(caller, floor=floor, priority=asked).priority == priority


def test_the_hash_is_of_what_was_asked_for_and_not_of_how() -> None:
    first = job(key="k", inputData={"a": 1, "b": [1, {"x": 2, "y": 3}]})
    other = job(idempotencyKey="k", inputData={"b": [1, {"y": 3, "x": 2}], "a": 1})
    assert (first.idempotency_key, first.idempotency_hash) == ("k", other.idempotency_hash)
    assert len(first.idempotency_hash) == 32
    times = [job(key="k", runAt=t) for t in ("2026-01-01T10:00:00Z", "2026-01-01T12:00:00+02:00")]
    assert times[0].idempotency_hash == times[1].idempotency_hash


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        ({}, "b92954ec52d37d52326adab34790abdfebab7666a5e1574424c264acbfd9c347"),
        (
            {
                "jobType": "complete_analysis",
                "projectId": "7b0f9a52-3c1d-4e8f-9a6b-2d5e8c1f0a37",
                "inputData": {"b": [1, 2.5, {"ü": None}], "a": {"d": 1, "c": 2}},
                "priority": 4,
                "maxRetries": 2,
                "timeoutSeconds": 60,
                "runAt": "2026-01-31T08:00:00+01:00",
            },
            "5c964f2744369f60610a7c014dc6c5dc147f274fd32a05461954fe45af42c3c0",
        ),
    ],
)
def test_the_hashes_of_stored_jobs_stay_valid(body: dict[str, Any], stored: str) -> None:
    for caller, floor in ((USER, 1), (USER, 9), (RULER, 4)):
        assert job(caller, key="k", floor=floor, **body).idempotency_hash.hex() == stored


def test_without_a_key_there_is_no_hash() -> None:
    assert (job().idempotency_key, job().idempotency_hash) == (None, None)


@pytest.mark.parametrize("key", ["", " ", " a", "a ", "a\tb", "ä", "x" * 256, "\udcff"])
def test_a_key_in_the_header_is_plain(key: str) -> None:
    with pytest.raises(ProblemError, match="Idempotency-Key"):
        job(key=key)


def test_one_key_may_be_given_twice() -> None:
    assert job(key="same", idempotencyKey="same").idempotency_key == "same"
    with pytest.raises(ProblemError, match="differs"):
        job(key="same", idempotencyKey="other")
