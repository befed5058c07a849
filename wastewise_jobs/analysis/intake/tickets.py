"""Scale tickets of a haul log: one number is one load, and its net weight is gross less tare."""

import re
from collections.abc import Sequence

from wastewise_jobs.analysis.intake.cells import Cell, text_of
from wastewise_jobs.analysis.intake.headers import plain
from wastewise_jobs.analysis.intake.rowreader import RowReader

_NAMES = ("ticket", "ticket number", "ticket no", "ticket id", "scale ticket", "load ticket",
          "scale ticket number", "weight ticket", "load number", "manifest number")  # fmt: skip

_NUMBERED = re.compile(r"[1-9]")


class Tickets:
    """The numbers of the tickets and the days on which they were seen."""

    def __init__(self, reader: RowReader) -> None:
        names = map(plain, reader.layout.headers)
        self._at = next((at for at, name in enumerate(names) if name in _NAMES), None)
        self._reader = reader
        self._seen: dict[tuple[str, str], int] = {}

    def look_at(self, number: int, row: Sequence[Cell]) -> None:
        """Warn of a ticket that an earlier row of its day bears: entered twice or in parts."""
        ticket = text_of(row[self._at]) if self._at is not None and self._at < len(row) else ""
        if not _NUMBERED.search(ticket):
            return
        key = ticket, self._reader.text(row, "date")
        first = self._seen.setdefault(key, number)
        if first != number:
            message = (
                "Rows bear the number of an earlier ticket of their day, so that they may be one "
                "haul: each was counted as a haul."
            )
            self._reader.warn("ticket_twice", message, number)
