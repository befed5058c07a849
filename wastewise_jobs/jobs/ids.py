"""Ids of jobs: UUID version 7 (RFC 9562), so that the primary key stays dense."""

import os
import threading
import time

# A uuid.UUID that is made of its bytes in a twentieth of the time; those of rows are the same.
from asyncpg.pgproto.pgproto import UUID

from wastewise_jobs.jobs.model import JobId

_VERSION_AND_VARIANT = (0x7 << 76) | (0b10 << 62)
_RANDOM_BYTES = 8
_lock = threading.Lock()
_last_moment = 0


def new_job_id() -> JobId:
    """Return an id that sorts after every id this process has made before."""
    return new_job_ids(1)[0]


def new_job_ids(count: int) -> list[JobId]:
    """Return so many ids, in order, that sort after every id this process has made before.

    48 bits of milliseconds, then 12 bits of the fraction of the millisecond (method 3 of RFC 9562,
    section 6.2), then 62 random bits. A moment that was used already is moved on by one step.
    """
    global _last_moment  # noqa: PLW0603 - the order of ids is a property of the process
    now = time.time_ns()
    moment = (now // 1_000_000 << 12) | (now % 1_000_000 << 12) // 1_000_000
    with _lock:
        first = max(moment, _last_moment + 1)
        _last_moment = first + count - 1
    noise = os.urandom(_RANDOM_BYTES * count)
    return [
        _id(first + n, noise[n * _RANDOM_BYTES : (n + 1) * _RANDOM_BYTES]) for n in range(count)
    ]


def _id(moment: int, noise: bytes) -> JobId:
    random_bits = int.from_bytes(noise, "big") >> 2
    value = (moment >> 12 << 80) | ((moment & 0xFFF) << 64) | random_bits | _VERSION_AND_VARIANT
    return JobId(UUID(value.to_bytes(16, "big")))
