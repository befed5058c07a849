"""Work that nobody can do: due jobs of a type, or in a queue, that no live worker carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from wastewise_jobs.db.pool import Executor
from wastewise_jobs.in_words import duration

_UNSERVED = """
SELECT
    left(u.queue, 100) AS queue,
    left(u.job_type, 100) AS job_type,
    extract(epoch FROM now() - u.due_since)::double precision AS waited_seconds,
    u.says
FROM public.unserved_kinds($1::interval, NULL::interval) u
LIMIT 20
"""


@dataclass(frozen=True, slots=True)
class Unserved:
    """A kind of job, and about how long its first has been due."""

    queue: str
    job_type: str
    waited_seconds: float
    says: str

    @property
    def words(self) -> str:
        """What everybody says about it."""
        return f"{self.says}, due for {duration(self.waited_seconds)}"


async def unserved(executor: Executor, silent_after: timedelta) -> Sequence[Unserved]:
    """Those whose first job is due for the stuck threshold, longest first; 20 at most."""
    return [Unserved(**dict(row)) for row in await executor.fetch(_UNSERVED, silent_after)]
