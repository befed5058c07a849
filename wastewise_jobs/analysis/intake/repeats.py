"""Leaves out what an earlier sheet holds already: two exports of overlapping months.

Within one sheet equal rows are common: two hauls of one month at one price. So a row is a repeat
only beyond the number of its equals that another sheet alone has.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from wastewise_jobs.analysis.intake.tables import Notebook, Table
from wastewise_jobs.analysis.model import Haul, InvoiceLine, Place

Row = TypeVar("Row", InvoiceLine, Haul)
Sheet = tuple[str, str | None]


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
    key_of: Callable[[Row], Hashable],
    code: str,
    message: str,
    notebook: Notebook,
) -> list[Row]:
    if len({(row.place.file, row.place.sheet) for row in rows}) < 2:  # noqa: PLR2004  # one sheet
        return list(rows)
    kept: list[Row] = []
    counts: dict[Hashable, Counter[Sheet]] = {}
    for row in rows:
        sheet = (row.place.file, row.place.sheet)
        seen = counts.setdefault(key_of(row), Counter())
        seen[sheet] += 1
        other = next((o for o, count in seen.items() if o != sheet and count >= seen[sheet]), None)
        if other is None:
            kept.append(row)
        else:
            _warn(notebook, code, message.format(_named(other)), row.place)
    return kept


def _line_key(line: InvoiceLine) -> Hashable:
    return (
        line.invoice_number.casefold(),
        line.invoice_date,
        line.covers,
        line.vendor.casefold(),
        line.service_type.casefold(),
        line.description.casefold(),
        line.amount,
    )


def _haul_key(haul: Haul) -> Hashable:
    texts = (haul.time, haul.container_type, haul.location, haul.notes)
    return haul.day, haul.tons, *(text.casefold() for text in texts)


def _named(sheet: Sheet) -> str:
    return f"{sheet[0]}, sheet {sheet[1]}" if sheet[1] else sheet[0]


def _warn(notebook: Notebook, code: str, message: str, place: Place) -> None:
    notebook.warn(code, message, table=Table(place.file, place.sheet, ()), row=place.row)
