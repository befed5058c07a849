"""bench."""


def bench() -> None:
    """Soon."""
