"""Where tables go."""

from rich.console import Console

_WIDTH_OF_A_FILE = 200


def stdout() -> Console:
    """Stdout; what is not a terminal gets lines long enough that nothing is cut."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_A_FILE)
