"""The command line: one module per group of commands.

Heavy imports (asyncpg, aiohttp, pydantic, the work itself) live inside the commands, so that
`--help` and completion are quick. What a command prints for programs goes to stdout; progress,
hints, errors and logs go to stderr. Exit codes: 0 done, 1 it did not work, 2 wrong usage or
settings, 130 interrupted.
"""

import gc
import os
import sys
from collections.abc import Sequence

from wastewise_jobs.cli.signals import handle_signals

# For these being asked to stop is a good end.
_SERVING = {"serve", "api", "worker"}
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; always ends by SystemExit."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    code = 0 if _SERVING & set(arguments) else _INTERRUPTED
    # Until a command hears of signals itself it has begun nothing that would have to be ended.
    handle_signals(lambda *_: os._exit(code))
    from wastewise_jobs.cli.app import main as run

    try:
        run(arguments)
    finally:
        # Or the interpreter's last collections look for garbage in all that was ever imported,
        # which costs every stop some tenths of a second.
        gc.freeze()
