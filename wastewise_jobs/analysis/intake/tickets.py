"""Scale tickets of a haul log: one number is one load, and its net weight is gross less tare."""

from collections.abc import Sequence

from wastewise_jobs.analysis.intake.cells import Cell, is_blank, text_of
from wastewise_jobs.analysis.intake.headers import plain
from wastewise_jobs.analysis.intake.rowreader import RowReader

_NAMES = ("ticket", "ticket number", "ticket no", "ticket id", "scale ticket", "load ticket",
          "scale ticket number", "weight ticket", "load number", "manifest number")  # fmt: skip


class Tickets:
    """The numbers of the tickets and the days on which they were seen."""

    def __init__(self, reader: RowReader) -> None:
        names = map(plain, reader.layout.headers)
        self._at = next((at for at, name in enumerate(names) if name in _NAMES), None)
        self._reader = reader
        self._seen: dict[tuple[str, str], int] = {}

    def look_at(self, number: int, row: Sequence[Cell]) -> None:
        """Warn of a ticket that an earlier row of its day bears: entered twice or in parts."""
        if self._at is None or self._at >= len(row) or is_blank(row[self._at]):
            return
        key = text_of(row[self._at]), self._reader.text(row, "date")
        first = self._seen.setdefault(key, number)
        if first != number:
            message = (
                "Rows bear the number of an earlier ticket of their day, so that they may be one "
                "haul: each was counted as a haul."
            )
            self._reader.warn("ticket_twice", message, number)
