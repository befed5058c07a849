"""Ids of jobs: UUID version 7 (RFC 9562), so that the primary key stays dense."""

import os
import threading
import time
from uuid import UUID

from wastewise_jobs.jobs.model import JobId

_VERSION_AND_VARIANT = (0x7 << 76) | (0b10 << 62)
_lock = threading.Lock()
_last_moment = 0


def new_job_id() -> JobId:
    """Return an id that sorts after every id this process has made before.

    48 bits of milliseconds, then 12 bits of the fraction of the millisecond (method 3 of RFC 9562,
    section 6.2), then 62 random bits. A moment that was used already is moved on by one step.
    """
    global _last_moment  # noqa: PLW0603 - the order of ids is a property of the process
    now = time.time_ns()
    moment = (now // 1_000_000 << 12) | (now % 1_000_000 << 12) // 1_000_000
    with _lock:
        moment = max(moment, _last_moment + 1)
        _last_moment = moment
    random_bits = int.from_bytes(os.urandom(8), "big") >> 2
    return JobId(
        UUID(
            int=(moment >> 12 << 80) | ((moment & 0xFFF) << 64) | random_bits | _VERSION_AND_VARIANT
        )
    )
