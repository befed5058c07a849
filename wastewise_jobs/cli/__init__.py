"""The command line: one module per group of commands.

Heavy imports (asyncpg, aiohttp, pydantic, the work itself) live inside the commands, so that
`--help` and completion are quick. What a command prints for programs goes to stdout; progress,
hints, errors and logs go to stderr. Exit codes: 0 done, 1 it did not work, 2 wrong usage or
settings, 130 interrupted.
"""

from wastewise_jobs.cli.app import main

__all__ = ["main"]
