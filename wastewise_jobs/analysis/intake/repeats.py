"""Leaves out what an earlier sheet holds already: two exports of overlapping months.

Within one sheet equal rows are common: two hauls of one month at one price. So a row is a repeat
only beyond the number of its equals that another sheet alone has.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from itertools import product
from typing import TypeVar

from wastewise_jobs.analysis.intake.tables import Notebook, Table
from wastewise_jobs.analysis.model import Haul, InvoiceLine, Place

Row = TypeVar("Row", InvoiceLine, Haul)
Sheet = tuple[str, str | None]
# What has to be equal, and what may be missing in one of two sheets: a number and a vendor.
Key = tuple[Hashable, str, str]


def without_repeated_lines(lines: Sequence[InvoiceLine], notebook: Notebook) -> list[InvoiceLine]:
    """The charge lines that no other sheet holds; with invoice numbers or without."""
    message = "The same invoice lines are also in {}; counted once."
    return _without_repeats(lines, _line_key, "line_in_two_files", message, notebook)


def without_repeated_hauls(hauls: Sequence[Haul], notebook: Notebook) -> list[Haul]:
    """The hauls that no other sheet holds."""
    message = "The same hauls are also in {}; counted once."
    return _without_repeats(hauls, _haul_key, "haul_in_two_files", message, notebook)


def _without_repeats(
    rows: Sequence[Row],
    key_of: Callable[[Row], Key],
    code: str,
    message: str,
    notebook: Notebook,
) -> list[Row]:
    if len({_sheet(row) for row in rows}) < 2:  # noqa: PLR2004  # nothing to overlap
        return list(rows)
    kept: list[Row] = []
    seen: dict[Hashable, dict[Sheet, _Tally]] = {}
    for row in rows:
        what, number, vendor = key_of(row)
        tallies, sheet = seen.setdefault(what, {}), _sheet(row)
        own = tallies.setdefault(sheet, _Tally())
        own.add(number, vendor)
        count = own.like(number, vendor)
        others = (o for o, tally in tallies.items() if o != sheet)
        other = next((o for o in others if tallies[o].like(number, vendor) >= count), None)
        if other is None:
            kept.append(row)
        else:
            _warn(notebook, code, message.format(_named(other)), row.place)
    return kept


class _Tally:
    """Counts rows of one sheet that are equal but for number and vendor, which may be missing."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str | None, str | None]] = Counter()

    def add(self, number: str, vendor: str) -> None:
        """Count a row; None stands for any."""
        self._counts.update(product((number, None), (vendor, None)))

    def like(self, number: str, vendor: str) -> int:
        """How many rows have that number and vendor, or none; all, where they are not given."""
        numbers, vendors = (number, "") if number else (None,), (vendor, "") if vendor else (None,)
        return sum(self._counts[pair] for pair in product(numbers, vendors))


def _line_key(line: InvoiceLine) -> Key:
    texts = (line.service_type.casefold(), line.description.casefold())
    what = (line.invoice_date, line.covers, line.amount, *texts)
    return what, line.invoice_number.casefold(), line.vendor.casefold()


def _haul_key(haul: Haul) -> Key:
    texts = (haul.container_type, haul.location, haul.notes)
    return (haul.day, haul.tons, *(text.casefold() for text in texts)), haul.time, ""


def _sheet(row: InvoiceLine | Haul) -> Sheet:
    return row.place.file, row.place.sheet


def _named(sheet: Sheet) -> str:
    return f"{sheet[0]}, sheet {sheet[1]}" if sheet[1] else sheet[0]


def _warn(notebook: Notebook, code: str, message: str, place: Place) -> None:
    notebook.warn(code, message, table=Table(place.file, place.sheet, ()), row=place.row)
