"""Jobs that are enqueued at the same time are inserted together.

While one batch is on its way to the database, the next one gathers: nobody waits for company, and
under load the batches grow by themselves. A batch takes from each user in turn: one user's thousand
do not delay another's one. Every caller gets its own answer; a job whose caller gave up before its
batch left is not inserted.
"""

import asyncio
import contextvars
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from wastewise_jobs.jobs.model import Enqueued, NewJob
from wastewise_jobs.jobs.store import JobStore

MOST_IN_BATCH = 500
_MOST_BYTES_IN_BATCH = 8 * 1024 * 1024
_BATCH_SECONDS = 25.0


@dataclass(slots=True, eq=False)
class Wanted:
    """A job that waits for its insertion, and where its answer goes."""

    job: NewJob
    answer: "asyncio.Future[Enqueued]"
    any_project: bool = False

    def refuse(self, error: Exception) -> None:
        """Tell whoever still waits."""
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(slots=True)
class _Line:
    jobs: deque[Wanted] = field(default_factory=deque)
    size: int = 0


class Lines:
    """What waits, a line for each user; the lines are served in turn."""

    def __init__(self) -> None:
        self._lines: OrderedDict[UUID | None, _Line] = OrderedDict()
        self.size = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, user: UUID | None) -> tuple[int, int]:
        """How many jobs of the user wait, and the bytes of their inputs."""
        line = self._lines.get(user)
        return (len(line.jobs), line.size) if line else (0, 0)

    def append(self, wanted: Wanted) -> None:
        """At the end of its user's line."""
        line = self._lines.setdefault(wanted.job.user_id, _Line())
        line.jobs.append(wanted)
        self._count_in(line, wanted, 1)

    def pop(self) -> Wanted:
        """The next one; its user's others wait until every other user had a turn."""
        user, line = next(iter(self._lines.items()))
        wanted = line.jobs.popleft()
        self._count_in(line, wanted, -1)
        if line.jobs:
            self._lines.move_to_end(user)
        else:
            del self._lines[user]
        return wanted

    def _count_in(self, line: _Line, wanted: Wanted, sign: int) -> None:
        self._count += sign
        line.size += sign * len(wanted.job.input_json)
        self.size += sign * len(wanted.job.input_json)


class Batcher:
    """Enqueues jobs, as many as there are at the moment, in one statement.

    Not a `Loop`: it ends when nobody waits, and what fails is its callers' to hear.
    """

    def __init__(self, store: JobStore, *, most_in_batch: int = MOST_IN_BATCH) -> None:
        self.store = store
        self._most_in_batch = most_in_batch
        self._sending: asyncio.Task[None] | None = None
        self.waiting = Lines()

    async def enqueue(self, job: NewJob, *, any_project: bool = False) -> Enqueued:
        """Insert the job; raises JobRefusedError for what a constraint refuses.

        `any_project` is for whoever admits jobs to projects.
        """
        wanted = Wanted(job, asyncio.get_running_loop().create_future(), any_project)
        self.waiting.append(wanted)
        if self._sending is None:
            # In nobody's context: a batch is not part of the call that happens to start it.
            self._sending = asyncio.create_task(
                self._send_all(), name="enqueue batches", context=contextvars.Context()
            )
        return await wanted.answer

    async def close(self) -> None:
        """Wait until everything that was accepted is answered."""
        if self._sending is not None:
            await asyncio.shield(self._sending)

    async def admit(self, batch: Sequence[Wanted]) -> Sequence[Wanted]:
        """Those that are inserted; whoever overrides it tells the others."""
        return batch

    async def _send_all(self) -> None:
        try:
            while batch := self._next_batch():
                try:
                    async with asyncio.timeout(_BATCH_SECONDS):
                        await self._send(batch)
                except Exception as error:  # noqa: BLE001 - a loop's tick: its batch is told, the next goes on
                    for wanted in batch:
                        wanted.refuse(error)
        finally:
            self._sending = None

    def _next_batch(self) -> list[Wanted]:
        batch: list[Wanted] = []
        size = 0
        while self.waiting and len(batch) < self._most_in_batch and size < _MOST_BYTES_IN_BATCH:
            wanted = self.waiting.pop()
            if not wanted.answer.done():
                batch.append(wanted)
                size += len(wanted.job.input_json)
        return batch

    async def insert(self, admitted: Sequence[Wanted]) -> None:
        """Insert them, and answer each."""
        tell(admitted, await self.store.enqueue([wanted.job for wanted in admitted]))

    async def _send(self, batch: Sequence[Wanted]) -> None:
        admitted = await self.admit(batch)
        if admitted:
            await self.insert(admitted)


def tell(batch: Sequence[Wanted], answers: Sequence[Enqueued | Exception]) -> None:
    """Answer whoever still waits; the answers are in the order of the batch."""
    for wanted, answer in zip(batch, answers, strict=True):
        if isinstance(answer, Exception):
            wanted.refuse(answer)
        elif not wanted.answer.done():
            wanted.answer.set_result(answer)
