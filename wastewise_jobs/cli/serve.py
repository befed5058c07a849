"""`serve`, `api`, `worker`: the service in one process, or its two halves in processes apart."""


def serve() -> None:
    """Soon."""


def api() -> None:
    """Soon."""


def worker() -> None:
    """Soon."""
