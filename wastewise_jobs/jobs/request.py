"""What is asked for when a job is enqueued, by whichever way: the job that it makes, and its key.

The same key with the same request is the same job, so the hash of a request must come out alike
from Python, over HTTP and from the previous release, whose hashes are in the rows.
"""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, Unpack
from uuid import UUID

import orjson

from wastewise_jobs.errors import InvalidInputError
from wastewise_jobs.jobs.ids import new_job_id
from wastewise_jobs.jobs.model import NewJob

# Part of every hash, given or not. Any other option is part of it only where it is given: a new
# one leaves the hashes of requests without it as they are.
_ALWAYS_HASHED = frozenset(
    {"job_type", "project_id", "priority", "max_retries", "timeout_seconds", "run_at"}
)
# The id is new each time; a key is unique for each user anyway.
_NEVER_HASHED = frozenset(
    {"id", "user_id", "priority_reason", "idempotency_key", "idempotency_hash"}
)


class EnqueueOptions(TypedDict, total=False):
    """What may be said about a job beside its input; None is as good as nothing said.

    `delay` and `timeout` are timedeltas or seconds, `run_at` has a time zone.
    """

    user_id: UUID | None
    project_id: UUID | None
    priority: int | None
    run_at: datetime | None
    delay: timedelta | float | None
    max_retries: int | None
    timeout: timedelta | float | None
    queue: str | None


def new_job(job_type: str, input_json: str = "{}", **options: Unpack[EnqueueOptions]) -> NewJob:
    """Return the job to enqueue; raises InvalidInputError for a time that cannot be.

    An option of another name is a TypeError.
    """
    given: dict[str, Any] = {**options}
    if unknown := given.keys() - EnqueueOptions.__annotations__.keys():
        raise TypeError(f"there is no option {', '.join(sorted(unknown))} of enqueueing")
    delay, run_at, timeout = (given.pop(name, None) for name in ("delay", "run_at", "timeout"))
    return NewJob(
        id=new_job_id(),
        job_type=job_type,
        input_json=input_json,
        priority_reason=None if given.get("priority") is None else "given by the caller",
        run_at=_moment(run_at, delay),
        delay_seconds=_seconds(delay),
        timeout_seconds=_seconds(timeout),
        **given,
    )


def with_key(job: NewJob, key: str) -> NewJob:
    """The job under a key, which it shares with every request for the same."""
    return replace(job, idempotency_key=key, idempotency_hash=_hash(job))


def _hash(job: NewJob) -> bytes:
    asked: dict[str, object] = {
        name: value
        for name in NewJob.__dataclass_fields__
        if name not in _NEVER_HASHED
        and ((value := getattr(job, name)) is not None or name in _ALWAYS_HASHED)
    }
    # The value, and not the text of one way or the other.
    asked["input_data"] = orjson.loads(str(asked.pop("input_json")))
    canonical = orjson.dumps(asked, default=str, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).digest()


def _moment(run_at: datetime | None, delay: object) -> datetime | None:
    if run_at is None:
        return None
    if delay is not None:
        raise InvalidInputError("delay", "cannot be given together with run_at")
    if run_at.tzinfo is None:
        raise InvalidInputError("run_at", "has no time zone")
    try:
        return run_at.astimezone(UTC)
    except OverflowError:
        raise InvalidInputError("run_at", "is outside the calendar") from None


def _seconds(given: timedelta | float | None) -> float | None:
    if given is None:
        return None
    return given.total_seconds() if isinstance(given, timedelta) else float(given)
