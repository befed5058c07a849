"""Where tables go, and how to call us again."""

import shlex
import shutil
import sys

from rich.console import Console

_WIDTH_OF_A_FILE = 200


def stdout() -> Console:
    """Stdout; what is not a terminal gets lines long enough that nothing is cut."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_A_FILE)


def as_typed(text: str) -> str:
    """What is said between backticks to be run, as this program was called."""
    return text.replace("`wastewise-jobs ", f"`{called_as()} ")


def called_as() -> str:
    """How this program was called, to be typed again."""
    called = sys.argv[0]
    if called.endswith("__main__.py"):
        return f"{shlex.quote(sys.executable)} -m wastewise_jobs"
    return "wastewise-jobs" if shutil.which("wastewise-jobs") == called else shlex.quote(called)
