"""How many bytes requests may keep in this process, over all and for each user.

Whatever waits here for somebody else, for the rest of a body, for a slow reader, has a size that
others decide, times as many connections as they like: so each kind has one budget. Whoever finds
it spent is told to come again; nobody can spend all of it alone.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from wastewise_jobs.web.http.caller import Caller
from wastewise_jobs.web.http.problems import OVERLOADED, TOO_MUCH_AT_ONCE, ProblemError

MEBIBYTE = 1024**2


class Budget:
    """So many bytes at once, and at most `share` of them of one user."""

    def __init__(self, total: int, *, share: int, what: str) -> None:
        self._total = total
        self._share = share
        self._what = what
        self._of: Counter[UUID] = Counter()
        self.spent = 0

    @contextlib.contextmanager
    def hold(self, caller: Caller) -> Iterator["Held"]:
        """Nothing yet; what is taken is given back at the end."""
        held = Held(self, caller.user_id)
        try:
            yield held
        finally:
            held.give_back()

    def spend(self, user: UUID, size: int) -> None:
        """Take bytes; raises ProblemError where they are not there."""
        mine = self._of[user]
        # One thing alone is never too much: what is larger than the share can be had, by itself.
        if mine and mine + size > self._share:
            detail = f"your {self._what} under way are too large together; let some end first"
            raise ProblemError(TOO_MUCH_AT_ONCE, detail)
        if self.spent and self.spent + size > self._total:
            raise ProblemError(OVERLOADED, f"too many {self._what} are under way; try again")
        self.spent += size
        self._of[user] += size

    def give_back(self, user: UUID, size: int) -> None:
        """They are free again."""
        self.spent -= size
        self._of[user] -= size
        if not self._of[user]:
            del self._of[user]


class Held:
    """What one request holds of a budget."""

    def __init__(self, budget: Budget, user: UUID) -> None:
        self._budget = budget
        self._user = user
        self._size = 0

    def take(self, size: int) -> None:
        """Hold so many bytes more; raises ProblemError."""
        self._budget.spend(self._user, size)
        self._size += size

    def give_back(self) -> None:
        """Hold nothing any more."""
        if self._size:
            self._budget.give_back(self._user, self._size)
            self._size = 0


def answer_budget() -> Budget:
    """For what waits until clients take it."""
    return Budget(256 * MEBIBYTE, share=64 * MEBIBYTE, what="answers")


def body_budget() -> Budget:
    """For what clients send, and what is made of it."""
    return Budget(192 * MEBIBYTE, share=64 * MEBIBYTE, what="requests")
