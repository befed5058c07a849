"""What signals ask of a process, and a watch that sees to it that it ends in time.

The first signal asks it to drain, the second one to hurry; during the start it gives up at once.
The event loop acts on that. Beside it a thread watches, because a handler may block the loop, and
a database or a thread may let it wait for ever: when the time is up, that thread does what must
not be left undone, and ends the process.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from wastewise_jobs.logs import get_logger

log = get_logger(__name__)

# After the grace period: for an answer of the loop, for it to end everything in order, and for the
# last acts. Together less than the two seconds that a process has.
_ANSWER_SECONDS = 0.3
_IN_ORDER_SECONDS = 1.2
_LAST_ACTS_SECONDS = 0.4
# For a process that nobody has asked to end: to report why it does, and for the last acts.
_FAILED_SECONDS = 10.0


class Stop:
    """Shared by the event loop of a process and the threads that hear of signals and watch it.

    `last_acts` are called with a number of seconds, by the thread and in turn, when the process
    does not end by itself, although it was asked to, `failed`, or is `hung`.
    """

    def __init__(self, grace_seconds: float) -> None:
        self.up = False
        self.asked = asyncio.Event()
        self.forced = asyncio.Event()
        self.last_acts: list[Callable[[float], object]] = []
        self._grace_seconds = grace_seconds
        self._grace_ends: float | None = None
        self._noticed: SimpleQueue[str] = SimpleQueue()

    @property
    def signalled(self) -> bool:
        return self._grace_ends is not None

    @property
    def grace_left(self) -> float:
        """How many seconds running jobs still have; counts from the first signal."""
        if self._grace_ends is None:
            return self._grace_seconds
        return max(0.0, self._grace_ends - time.monotonic())

    def notice(self) -> None:
        """A signal has come; called in another thread than the loop's."""
        if self._grace_ends is None:
            self._grace_ends = time.monotonic() + self._grace_seconds
        self._noticed.put("signal")

    def act(self, main: "asyncio.Task[object]") -> None:
        """The loop's part of it; `main` is what runs the service."""
        if not self.up or self.forced.is_set():
            main.cancel()
        elif self.asked.is_set():
            log.warning("stop_forced")
            self.forced.set()
        else:
            self.asked.set()

    def failed(self) -> None:
        """The service has failed; whatever is left must not keep the process."""
        self._noticed.put("failed")

    def hung(self) -> None:
        """Only a new process helps: end this one with an error. From any thread."""
        self._noticed.put("hung")

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread; it ends with the process."""
        threading.Thread(target=self._watch, args=(loop,), name="stop", daemon=True).start()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        why = self._noticed.get()
        if why != "signal":
            time.sleep(_FAILED_SECONDS if why == "failed" else 0)
            self._end(1, _FAILED_SECONDS)
        with contextlib.suppress(Empty):
            # A second signal ends the grace period.
            self._noticed.get(timeout=self.grace_left)
        answers = _answers(loop)
        if answers:
            time.sleep(_IN_ORDER_SECONDS)
        log.warning("stop_overdue", loop_answers=answers)
        self._end(0, _LAST_ACTS_SECONDS if answers else _IN_ORDER_SECONDS)

    def _end(self, code: int, seconds: float) -> None:
        for act in self.last_acts:
            with contextlib.suppress(Exception):
                act(seconds)
        os._exit(code)


def _answers(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop is free to act, or has ended and left only the interpreter to end."""
    answered = threading.Event()
    try:
        loop.call_soon_threadsafe(answered.set)
    except RuntimeError:
        return True
    return answered.wait(_ANSWER_SECONDS)
