"""Decides for each column of a sheet which of day, month and year comes first.

One cell seldom tells: 05/02/2025 is two days. A column does when one of its cells fits one order
alone, or another column of the sheet does, or when one order alone spaces invoices by months and
hauls by days.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from wastewise_jobs.analysis.choices import DATE_ORDERS
from wastewise_jobs.analysis.intake.cells import DateStyle, day_of
from wastewise_jobs.analysis.intake.rowreader import DATES, Row, RowReader

_THREE = re.compile(r"(?<!\d)(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})(?!\d)")
_YEAR_FIRST = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{8}")
_NAMES = {"mdy": "month first", "dmy": "day first", "ymd": "year first"}
_FEWEST = 3
_MONTHLY = (26, 35)
_MONTH = 31

Reading = tuple[date, ...]


@dataclass(frozen=True, slots=True)
class _Column:
    """The dates of a column that are written as three numbers, and every order that fits all."""

    name: str
    texts: tuple[str, ...]
    rows: tuple[int, ...]
    is_mixed: bool
    readings: Mapping[str, Reading]

    @property
    def proven(self) -> str | None:
        """The order, if only one fits; among other notations a misfit is an error, not a proof."""
        orders = list(self.readings)
        if len(orders) != 1 or (self.is_mixed and orders != ["mdy"]):
            return None
        return orders[0]

    @property
    def open(self) -> list[str]:
        """The orders between which the column does not decide, the usual one first."""
        first: dict[Reading, str] = {}
        for order, reading in self.readings.items():
            first.setdefault(reading, order)
        return list(first.values())


def date_styles(reader: RowReader, rows: Sequence[Row], order: str | None) -> dict[str, DateStyle]:
    """How the dates of each column are to be read; what is guessed is noted."""
    columns = [column for name in DATES if (column := _column(reader, rows, name))]
    proven = {column.proven for column in columns if column.proven}
    orders = {column.name: order or _decided(reader, column, proven) for column in columns}
    date1904 = reader.table.marks.date1904
    return {name: DateStyle(orders.get(name, order or "mdy"), date1904) for name in DATES}


def _column(reader: RowReader, rows: Sequence[Row], name: str) -> _Column | None:
    at = reader.layout.columns.get(name)
    if at is None:
        return None
    found: dict[str, tuple[str, ...]] = {}
    numbers: list[int] = []
    is_mixed = False
    for number, row in rows:
        cell = row[at] if at < len(row) else None
        if not isinstance(cell, str):
            is_mixed = is_mixed or isinstance(cell, date)
        elif threes := {match[0]: match.group(1, 3, 4) for match in _THREE.finditer(cell)}:
            found |= threes
            numbers.append(number)
        else:
            is_mixed = is_mixed or _YEAR_FIRST.match(cell.strip()) is not None
    if not found:
        return None
    fitting = {order: days for order in DATE_ORDERS if (days := _reading(found.values(), order))}
    if "mdy" in fitting:
        # A year that could be a month is one before 2013.
        fitting.pop("ymd", None)
    return _Column(name, tuple(found), tuple(numbers), is_mixed, fitting)


def _reading(found: Iterable[tuple[str, ...]], order: str) -> Reading:
    """The days in that order; empty unless all of them exist."""
    days: list[date] = []
    for three in found:
        if order == "ymd" and not len(three[0]) == len(three[2]) == 2:  # noqa: PLR2004  # 25/01/28
            return ()
        try:
            days.append(day_of(**dict(zip(order, three, strict=True))))
        except ValueError:
            return ()
    return tuple(days)


def _decided(reader: RowReader, column: _Column, proven: set[str]) -> str:
    if column.proven:
        if column.proven != "mdy":
            _note(reader, column, column.proven, "proven")
        return column.proven
    candidates = column.open
    if not candidates or (column.is_mixed and "mdy" not in candidates):
        return "mdy"
    if len(candidates) == 1:
        return candidates[0]
    neighbour = next(iter(proven)) if len(proven) == 1 else ""
    return neighbour if neighbour in column.readings else _guessed(reader, column)


def _guessed(reader: RowReader, column: _Column) -> str:
    """The likeliest order; a guess that agrees with the usual order is none."""
    candidates = column.open
    is_spaced = _are_days_apart if column.name == "date" else _are_months_apart
    spaced = [order for order in candidates if is_spaced(column.readings[order])]
    order, why = candidates[0], "open"
    if len(spaced) == 1:
        order, why = spaced[0], "days" if column.name == "date" else "months"
    elif "dmy" in candidates and all("." in text for text in column.texts):
        order, why = "dmy", "dotted"
    if order != "mdy" or why == "open":
        _note(reader, column, order, why)
    return order


def _are_days_apart(days: Reading) -> bool:
    """Whether hauls of such days come within a month of each other."""
    return all((later - earlier).days < _MONTH for earlier, later in pairwise(sorted(days)))


def _are_months_apart(days: Reading) -> bool:
    """Whether invoices of such days are a month apart, or some months."""
    distinct = sorted(set(days))
    if len(distinct) < _FEWEST:
        return False
    ends = {(day + timedelta(days=1)).day for day in distinct}
    gaps = [(later - earlier).days for earlier, later in pairwise(distinct)]
    is_regular = len({day.day for day in distinct}) == 1 or ends == {1}
    return is_regular or all(_MONTHLY[0] <= gap <= _MONTHLY[1] for gap in gaps)


_REASONS = {
    "months": ", which puts them months apart",
    "days": ", which puts hauls days and not months apart",
    "dotted": ", as dates with points are written",
    "open": "",
}


def _note(reader: RowReader, column: _Column, order: str, why: str) -> None:
    """Tell what was decided; `why` is proven or one of `_REASONS`."""
    code, read = "date_order", f"were read {_NAMES[order]}"
    if why == "proven":
        message = f"Dates {read}: some of them fit no other order."
    else:
        if why == "open" and _matters(reader, column):
            code = "date_order_ambiguous"
        message = (
            f"Dates {read}{_REASONS[why]}; both readings are possible ({_readings(column)}): "
            f"decide with dateOrder ({', '.join(column.open)})."
        )
    for row in column.rows:
        reader.warn(code, message, row, column.name)


def _matters(reader: RowReader, column: _Column) -> bool:
    """Whether the readings differ in what is measured: of an invoice date only the months count."""
    if column.name != "invoice_date":
        return True
    if reader.layout.columns.keys() & {"period", "period_start"}:
        return False
    months = {len({(day.year, day.month) for day in days}) for days in column.readings.values()}
    return len(months) > 1


def _readings(column: _Column) -> str:
    """`05/02/2025 as 2025-05-02 (month first) or 2025-02-05 (day first)`."""
    orders = column.open
    days = zip(*(column.readings[order] for order in orders), strict=True)
    at = next(at for at, readings in enumerate(days) if len(set(readings)) > 1)
    told = [f"{column.readings[order][at]} ({_NAMES[order]})" for order in orders]
    return f"{column.texts[at]} as {' or '.join(told)}"
