"""The command line: one module per group of commands.

Heavy imports (asyncpg, aiohttp, pydantic, the work itself) live inside the commands, so that
`--help` and completion are quick. What a command prints for programs goes to stdout; progress,
hints, errors and logs go to stderr. Exit codes: 0 done, 1 it did not work, 2 wrong usage or
settings, 130 interrupted.
"""

import os
import signal
import sys
from collections.abc import Sequence

# For these being asked to stop is a good end.
_SERVING = {"serve", "api", "worker"}
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; always ends by SystemExit."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _end_at_once_when_signalled(0 if _SERVING & set(arguments) else _INTERRUPTED)
    from wastewise_jobs.cli.app import main as run

    run(arguments)


def _end_at_once_when_signalled(code: int) -> None:
    """Until a command is ready for signals: it has begun nothing that would have to be ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup wants the process to outlive its terminal.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(code))
