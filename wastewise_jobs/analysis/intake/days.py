"""The days that a charge line names: its date, its period, months in place of either."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import partial

from wastewise_jobs.analysis.intake.cells import Cell, date_of, is_blank, is_serial, period_of
from wastewise_jobs.analysis.intake.rowreader import RowReader
from wastewise_jobs.analysis.intake.spans import Span, is_short, may_be_days, month_in, span_of

_COLUMNS = ("invoice_date", "period_start", "period_end", "period")


@dataclass(frozen=True, slots=True)
class Days:
    """What a row says about time; None for what it does not say or what cannot be read."""

    day: date | None
    start: date | None
    end: date | None


def read_days(reader: RowReader, number: int, row: Sequence[Cell]) -> Days:
    """The days of the row, with a problem for what cannot be read.

    A month or a period in the column of the date is the line's period if it names no other.
    """
    start, end = _day(reader, number, row, "period_start"), _day(reader, number, row, "period_end")
    first = start[0] if start else None
    last = end[1] if end else None
    period = reader.cell(row, "period")
    if first is None and last is None and not is_blank(period):
        _note_short(reader, number, "period", period)
        read = partial(_read_span, reader, "period")
        first, last = reader.read(number, "period", period, read) or (None, None)
    day = _day(reader, number, row, "invoice_date")
    if day is None or day[0] == day[1]:
        return Days(day and day[0], first, last)
    if first is None and last is None:
        return Days(None, *day)
    return Days(day[0], first, last)


def _day(reader: RowReader, number: int, row: Sequence[Cell], name: str) -> Span | None:
    """The day as a span of one; a month or a period as its first and last day."""
    cell, style = reader.cell(row, name), reader.style(name)
    if isinstance(cell, str) and not is_blank(cell) and not is_serial(cell, style):
        with suppress(ValueError):
            day = date_of(cell, style)
            return day, day
        with suppress(ValueError):
            span = _read_span(reader, name, cell)
            _note_span(reader, number, name, cell)
            return span
    found = reader.day(number, row, name)
    return None if found is None else (found, found)


def _note_span(reader: RowReader, number: int, name: str, cell: Cell) -> None:
    _note_short(reader, number, name, cell)
    if not is_short(cell):
        message = "Months and periods that stand in place of a day were read as their days."
        reader.warn("period_as_date", message, number, name)


def _read_span(reader: RowReader, name: str, cell: Cell) -> Span:
    style = reader.style(name)
    return span_of(cell, partial(date_of, style=style), partial(period_of, style=style))


def _note_short(reader: RowReader, number: int, name: str, cell: Cell) -> None:
    month = month_in(cell) if is_short(cell) else None
    if month is not None:
        message = "A month with two digits, as Jan-25, was read as a month and its year."
        reader.warn("month_and_year", message, number, name)


def note_short_years(reader: RowReader) -> None:
    """A problem for each column whose months may have days behind them, not years."""
    for name in _COLUMNS:
        at = reader.layout.columns.get(name)
        if at is not None and may_be_days(row[at] for row in reader.table.rows if at < len(row)):
            problem = "has months with two digits that may be days or years: write the whole date"
            reader.problem(reader.layout.header_row + 1, name, problem)
