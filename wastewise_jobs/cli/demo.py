"""demo."""


def demo() -> None:
    """Soon."""
