"""Values that break programs, returned, raised and reported by handlers."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from wastewise_jobs import JobContext, PermanentError, RetryableError


def _cyclic() -> object:
    ring: list[object] = []
    ring.append(ring)
    return ring


def _deep(levels: int) -> object:
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


class _Unreadable:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class _UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


VALUES: dict[str, Callable[[], object]] = {
    "nul": lambda: "a\0b",
    "nul key": lambda: {"a\0b": 1},
    "surrogate": lambda: "a\ud800b",
    "not a number": lambda: float("nan"),
    "infinity": lambda: [float("inf"), float("-inf")],
    "huge integer": lambda: 10**5000,
    "beyond 64 bits": lambda: 2**64,
    "huge decimal": lambda: Decimal("1e100000"),
    "ten megabytes": lambda: "x" * 10_000_000,
    "many megabytes": lambda: ["y" * 1000] * 40_000,
    "bytes": lambda: b"\x00\xff",
    "cyclic": _cyclic,
    "deep": lambda: _deep(500),
    "very deep": lambda: _deep(100_000),
    "set": lambda: {1, 2},
    "function": lambda: print,
    "unreadable": _Unreadable,
    "naive time": lambda: datetime(9999, 12, 31, 23, 59),  # noqa: DTZ001 - the very thing
    "aware time": lambda: datetime(1, 1, 1, tzinfo=UTC),
    "uuid": lambda: UUID(int=0),
    "keys of many types": lambda: {1: 1, None: 2, (3, 4): 3},
    "control characters": lambda: "".join(map(chr, range(32))) + "\x7f\u2028\u202e",
}

ERRORS: dict[str, Callable[[str], BaseException]] = {
    "permanent": lambda text: PermanentError("ODD\0CODE" * 50, text, details={"odd": text}),
    "retryable": lambda text: RetryableError(text, code="ODD", details={"n": float("nan")}),
    "runtime": RuntimeError,
    "unreadable": lambda _: _UnreadableError(),
    "exit": SystemExit,
    "interrupt": KeyboardInterrupt,
    "generator": GeneratorExit,
    "iteration": StopIteration,
    "cancelled": asyncio.CancelledError,
    "memory": MemoryError,
    "recursion": RecursionError,
    "group": lambda text: BaseExceptionGroup("g", [SystemExit(1), ValueError(text)]),
}
TEXTS = {
    "nul": "a\0b",
    "surrogate": "\udfff",
    "long": "z" * 1_000_000,
    "markup": "<!channel>\r\nX: 1",
}

PROGRESS: dict[str, Callable[[JobContext], object]] = {
    "not a number": lambda job: job.progress(float("nan"), "a\0b"),
    "infinity": lambda job: job.progress(float("inf"), "\ud800", steps_completed=10**30),
    "minus": lambda job: job.progress(-5, "x" * 1_000_000, total_steps=-(10**30)),
    "usage": lambda job: job.record_ai_usage(
        requests=10**30, tokens_input=-1, tokens_output=10**30, cost_usd=float("nan")
    ),
}


def acts() -> list[str]:
    """Everything that a handler can be told to do, as `return:...` and so on."""
    return [
        *(f"return:{name}" for name in VALUES),
        *(f"raise:{name}:{text}" for name in ERRORS for text in TEXTS),
        *(f"report:{name}" for name in PROGRESS),
    ]


def perform(job: JobContext, act: str) -> Any:
    """Do one of them."""
    what, _, which = act.partition(":")
    if what == "return":
        return VALUES[which]()
    if what == "report":
        return PROGRESS[which](job)
    name, _, text = which.partition(":")
    raise ERRORS[name](TEXTS[text])
