"""Reading text/event-stream, as the HTML standard defines it. Pure: bytes in, events out."""

from collections.abc import Iterator
from dataclasses import dataclass

MOST_BYTES_BUFFERED = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event; `last_event_id` is the newest id seen so far, which is what a resume sends."""

    name: str
    data: str
    last_event_id: str


class EventStreamParser:
    """Takes chunks as they arrive, however they are cut, and gives whole events.

    `last_event_id` is what to send to go on after the last event that was given.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self._pending = b""
        self._name = ""
        self._data: list[str] = []
        self._id = last_event_id
        self.last_event_id = last_event_id
        self.retry_seconds: float | None = None

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """The events that this chunk completes. Raises ValueError when a line has no end."""
        self._pending += chunk
        if len(self._pending) > MOST_BYTES_BUFFERED:
            raise ValueError("the event stream holds a line without end")
        # A carriage return at the very end may be half of a line end.
        whole = self._pending.replace(b"\r\n", b"\n")
        held = b"\r" if whole.endswith(b"\r") else b""
        lines = whole.removesuffix(b"\r").replace(b"\r", b"\n").split(b"\n")
        self._pending = lines.pop() + held
        for line in lines:
            if (event := self._take(line.decode("utf-8", "replace"))) is not None:
                yield event

    def _take(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry_seconds = int(value) / 1000
        return None

    def _dispatch(self) -> ServerEvent | None:
        name, data = self._name or "message", self._data
        self._name, self._data = "", []
        # Only now: an event that was cut off must come again after a resume.
        self.last_event_id = self._id
        return ServerEvent(name, "\n".join(data), self.last_event_id) if data else None
