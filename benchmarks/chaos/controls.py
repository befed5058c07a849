"""Negative controls: a protection is taken away, and the run must turn red.

They change the text of the functions in the harness's own database. A text that no longer has
what a control removes is an error: a control that removes nothing would prove nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.chaos.history import Connection


@dataclass(frozen=True, slots=True)
class Protection:
    """`scenario` is the one that must notice that it is gone, by one of the problems `seen_as`."""

    name: str
    says: str
    scenario: str
    seen_as: tuple[str, ...]
    # (pattern of function names, pattern in their text, what stands there instead, least changes)
    edit: tuple[str, str, str, int]


PROTECTIONS = {
    protection.name: protection
    for protection in (
        Protection(
            "fence",
            "the fence in the WHERE clause of every write about a running job",
            "stop",
            ("holder_settles", "last_fence_wins"),
            (".*", r"\s+AND \w+\.fence = \w+\.fence", "", 6),
        ),
        Protection(
            "rescue",
            "the rescue of jobs whose lease has expired",
            "kill",
            ("finished", "leases_live", "found no work"),
            ("rescue_jobs", r"\nBEGIN\n", "\nBEGIN RETURN;\n", 1),
        ),
        Protection(
            "heartbeat",
            "the renewal of leases",
            "lease",
            ("jobs run more than once", "finished"),
            (
                "heartbeat_jobs",
                r"SET lease_expires_at = now\(\) \+ _lease,\s+expired = false",
                "SET fence = q.fence",
                1,
            ),
        ),
        Protection(
            "claim",
            "the look under the lock whether a job is still pending",
            "kill",
            ("claimed_when_pending",),
            (
                "claim_jobs",
                r"\s+AND [aj]\.status = 'pending'|\s+FOR NO KEY UPDATE SKIP LOCKED",
                "",
                3,
            ),
        ),
        Protection(
            "quarantine",
            "the end of a job after three crashes",
            "poison",
            ("within_limits", "finished"),
            ("rescue_these_jobs", r"\w+\.crash_count >= 2", "false", 2),
        ),
        Protection(
            "release",
            "the return of jobs that a worker gives up when it stops",
            "term",
            ("released",),
            ("release_jobs", r"\nBEGIN\n", "\nBEGIN RETURN;\n", 1),
        ),
        Protection(
            "idempotency",
            "the memory of a client's key",
            "indoubt",
            ("one_job_per_key",),
            ("enqueue_jobs", r"g\.idempotency_key, g\.idempotency_hash\n", "NULL, NULL\n", 1),
        ),
    )
}


def noticed(name: str, problems: Sequence[str]) -> bool:
    """Whether a run without the protection saw what is to be expected without it."""
    return any(sign in problem for sign in PROTECTIONS[name].seen_as for problem in problems)


_FUNCTIONS = """
SELECT pg_get_functiondef(p.oid)
FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace
  AND p.prokind = 'f'
  AND p.proname ~ ('^(' || $1 || ')$')
"""


async def remove(connection: Connection, name: str) -> None:
    """Take the protection away in this database."""
    names, pattern, instead, least = PROTECTIONS[name].edit
    changes = 0
    for (text,) in await connection.fetch(_FUNCTIONS, names):
        changed, count = re.subn(pattern, instead, text)
        if count:
            await connection.execute(changed)
            changes += count
    if changes < least:
        raise RuntimeError(f"--without {name} found {changes} places, not {least}")
