"""Hears of signals, whatever the main thread is doing.

A handler of Python, or of the event loop, waits until the main thread gets to it, and a function
in C may keep that busy. What the interpreter does at once is write a byte to a descriptor: here a
thread reads it.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeAlias

Handler: TypeAlias = Callable[[int, FrameType | None], object]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def handle_signals(handler: Handler) -> dict[int, Handler | int | None]:
    """Set the handler of the signals that end a process; returns the ones before."""
    before: dict[int, Handler | int | None] = {}
    for number in _SIGNALS:
        # nohup wants the process to outlive its terminal.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, handler)
    return before


@contextmanager
def heard_signals(act: Callable[[], object]) -> Iterator[Callable[[], object]]:
    """Call `act` for each signal, in a thread of its own.

    Yields what a loop must call when it has started, because loops take the descriptor.
    """
    import socket
    import threading

    near, far = socket.socketpair()
    far.setblocking(False)

    def take() -> int:
        return signal.set_wakeup_fd(far.fileno(), warn_on_full_buffer=False)

    def handler(number: int, _: FrameType | None) -> None:
        # If somebody else had taken the descriptor, that one was told instead of us.
        if take() != far.fileno():
            far.send(bytes([number]))

    before = handle_signals(handler)

    def listen() -> None:
        with near:
            while byte := near.recv(1):
                # There may be handlers for other signals as well.
                if byte[0] in before:
                    act()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    take()
    try:
        yield take
    finally:
        signal.set_wakeup_fd(-1)
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
        far.close()
