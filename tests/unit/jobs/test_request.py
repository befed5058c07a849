from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from wastewise_jobs import InvalidInputError, JobContext, Jobs
from wastewise_jobs.jobs import sql
from wastewise_jobs.jobs.model import NewJob
from wastewise_jobs.jobs.request import new_job, with_key

EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))


def test_times_are_moments_and_seconds() -> None:
    job = new_job("a", run_at=datetime(2026, 1, 31, 8, tzinfo=EAST), timeout=timedelta(minutes=1))
    assert (job.run_at, job.timeout_seconds) == (datetime(2026, 1, 30, 18, tzinfo=UTC), 60.0)
    assert new_job("a", delay=2).delay_seconds == 2.0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"run_at": datetime(2026, 1, 1)}, "run_at"),  # noqa: DTZ001
        ({"run_at": datetime.min.replace(tzinfo=EAST)}, "run_at"),
        ({"run_at": datetime.max.replace(tzinfo=WEST)}, "run_at"),
        ({"run_at": datetime(2026, 1, 1, tzinfo=UTC), "delay": 1}, "delay"),
    ],
)
def test_a_time_that_cannot_be_is_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        new_job("a", **options)
    assert refused.value.field == field


async def test_an_option_that_does_not_exist_is_never_dropped_in_silence() -> None:
    async def alone(job: JobContext) -> None: ...

    handler = Jobs().handler("a")(alone)
    wrong: dict[str, Any] = {"prioritty": 1}
    with pytest.raises(TypeError, match="prioritty"):
        await handler.enqueue(**wrong)
    # A key is of one job.
    wrong = {"idempotency_key": "k"}
    with pytest.raises(TypeError, match="idempotency_key"):
        await handler.enqueue_many([None], **wrong)


def test_whatever_a_job_carries_is_sent() -> None:
    carried = [field.name for field in fields(NewJob)]
    assert carried == ["id", "job_type", "input_json", *sql.OPTIONAL_COLUMNS]


def test_an_option_counts_in_the_hash_where_it_is_given() -> None:
    def hashed(**options: Any) -> bytes | None:
        return with_key(new_job("a", "{}", **options), "k").idempotency_hash

    assert hashed() == hashed(queue=None, delay=None, priority=None, timeout=None)
    given: list[dict[str, Any]] = [{}, {"queue": "a"}, {"delay": 1}, {"priority": 1}]
    assert len({hashed(**options) for options in given}) == len(given)
