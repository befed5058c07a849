"""The child that calls functions for `calls.Children`, one at a time.

Speaks pickles with their length before them: calls come on stdin, answers go to what was stdout
(a function's own prints go to stderr). A thread reads, so that the process ends when its parent is
gone, however busy it is.
"""

import os
import pickle
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import IO, Any

from wastewise_jobs.children.calls import LENGTH, RAISED, RETURNED
from wastewise_jobs.children.confine import OUT_OF_MEMORY_EXIT, confine

_Calls = SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]]


def main() -> None:
    """Answer calls until stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    memory_bytes, parent, sys.path[:] = _read(sys.stdin.buffer)
    confine(memory_bytes=memory_bytes, parent=parent)
    calls: _Calls = SimpleQueue()
    threading.Thread(target=_listen, args=(calls,), daemon=True).start()
    while True:
        try:
            _write(answers, _answer(*calls.get()))
        except MemoryError:
            os._exit(OUT_OF_MEMORY_EXIT)


def _listen(calls: _Calls) -> None:
    try:
        while True:
            calls.put(_read(sys.stdin.buffer))
    except MemoryError:
        os._exit(OUT_OF_MEMORY_EXIT)
    except EOFError:
        os._exit(1)


def _answer(function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    try:
        return pickle.dumps((RETURNED, function(*args)))
    except MemoryError:
        return pickle.dumps((RAISED, MemoryError()))
    except BaseException as error:  # noqa: BLE001 - as a handler's run: the caller gets it
        return _raised(error)


def _raised(error: BaseException) -> bytes:
    """The error as it is; its text, when it cannot travel."""
    try:
        raw = pickle.dumps((RAISED, error))
        pickle.loads(raw)  # noqa: S301 - just made here
    except Exception:  # noqa: BLE001 - pickling runs the error's own code
        return pickle.dumps((RAISED, RuntimeError(f"{type(error).__name__}: {error}")))
    return raw


def _read(calls: IO[bytes]) -> Any:  # noqa: ANN401 - what the parent says
    size = calls.read(LENGTH.size)
    if len(size) < LENGTH.size:
        raise EOFError
    return pickle.loads(calls.read(*LENGTH.unpack(size)))  # noqa: S301 - our own parent


def _write(answers: IO[bytes], raw: bytes) -> None:
    answers.write(LENGTH.pack(len(raw)) + raw)
    answers.flush()


if __name__ == "__main__":
    main()
