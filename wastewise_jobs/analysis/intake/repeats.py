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
# What has to be equal, and what one of two sheets may not say: a number, a vendor, a location.
Key = tuple[Hashable, tuple[str, ...]]
Where = Callable[[Place], str]


def without_repeated_lines(
    lines: Sequence[InvoiceLine], where: Where, notebook: Notebook
) -> list[InvoiceLine]:
    """The charge lines that no other sheet holds; `where` says of which location a row is."""
    message = "The same invoice lines are also in {}; counted once."
    return _without_repeats(lines, _line_key, where, ("line_in_two_files", message), notebook)


def without_repeated_hauls(hauls: Sequence[Haul], where: Where, notebook: Notebook) -> list[Haul]:
    """The hauls that no other sheet holds."""
    message = "The same hauls are also in {}; counted once."
    return _without_repeats(hauls, _haul_key, where, ("haul_in_two_files", message), notebook)


def _without_repeats(
    rows: Sequence[Row],
    key_of: Callable[[Row], Key],
    where: Where,
    told: tuple[str, str],
    notebook: Notebook,
) -> list[Row]:
    shared = _in_two_sheets(rows, key_of)
    if not shared:
        return list(rows)
    kept: list[Row] = []
    seen: dict[Hashable, dict[Sheet, _Tally]] = {}
    for row in rows:
        key: Key = key_of(row)
        other = None
        if key[0] in shared:
            tallies = seen.setdefault(key[0], {})
            other = _other(tallies, _sheet(row), (*key[1], where(row.place)))
        if other is None:
            kept.append(row)
        else:
            _warn(notebook, told[0], told[1].format(_named(other)), row.place)
    return kept


def _other(tallies: "dict[Sheet, _Tally]", sheet: Sheet, said: tuple[str, ...]) -> Sheet | None:
    """Another sheet that holds the row too, as often as this one does by now."""
    own = tallies.setdefault(sheet, _Tally())
    own.add(said)
    count = own.like(said)
    others = (o for o, tally in tallies.items() if o != sheet and tally.like(said) >= count)
    return next(others, None)


def _in_two_sheets(rows: Sequence[Row], key_of: Callable[[Row], Key]) -> set[Hashable]:
    """What more than one sheet holds; most often there is but one sheet, or nothing."""
    if len({_sheet(row) for row in rows}) < 2:  # noqa: PLR2004  # nothing to overlap
        return set()
    first: dict[Hashable, Sheet] = {}
    whats = ((key_of(row)[0], _sheet(row)) for row in rows)
    return {what for what, sheet in whats if first.setdefault(what, sheet) != sheet}


class _Tally:
    """Counts rows of one sheet that are equal but for what a sheet may not say."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str | None, ...]] = Counter()

    def add(self, said: tuple[str, ...]) -> None:
        """Count a row; None stands for any."""
        self._counts.update(product(*((text, None) for text in said)))

    def like(self, said: tuple[str, ...]) -> int:
        """How many rows say the same or nothing; of what is not said, any."""
        texts = ((text, "") if text else (None,) for text in said)
        return sum(self._counts[same] for same in product(*texts))


def _line_key(line: InvoiceLine) -> Key:
    texts = (line.service_type.casefold(), line.description.casefold())
    what = (line.invoice_date, line.covers, line.amount, *texts)
    return what, (line.invoice_number.casefold().lstrip("0"), line.vendor.casefold())


def _haul_key(haul: Haul) -> Key:
    texts = (haul.container_type, haul.location, haul.notes)
    return (haul.day, haul.tons, *(text.casefold() for text in texts)), (haul.time,)


def _sheet(row: InvoiceLine | Haul) -> Sheet:
    return row.place.file, row.place.sheet


def _named(sheet: Sheet) -> str:
    return f"{sheet[0]}, sheet {sheet[1]}" if sheet[1] else sheet[0]


def _warn(notebook: Notebook, code: str, message: str, place: Place) -> None:
    notebook.warn(code, message, table=Table(place.file, place.sheet, ()), row=place.row)
