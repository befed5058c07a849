"""The units that a column of its own names: the currency of an amount, the unit of a weight."""

import re
from collections.abc import Sequence

from wastewise_jobs.analysis.intake.cells import Cell, text_of
from wastewise_jobs.analysis.intake.headers import plain
from wastewise_jobs.analysis.intake.rowreader import RowReader

_CURRENCIES = ("currency", "currency code", "curr", "crcy", "cur", "ccy", "iso currency")
_DOLLARS = re.compile(r"(?:usd|(?:us|u s|united states) dollars?)(?: .*)?|dollars?|us|")
_UNITS = ("uom", "um", "u m", "unit", "units", "unit of measure", "weight unit", "weight uom",
          "weight units", "wt unit")  # fmt: skip
_POUNDS = re.compile(r"lbs?|pounds?|#")
_TONS = re.compile(r"(?:short |us |net )?tons?|tns?|ton us|st")
_OTHERS = re.compile(r"kgs?|kilo(?:gram)?s?|mt|t|tonnes?|metric tons?|cy|yds?|(?:cubic )?yards?")


def note_currencies(reader: RowReader) -> None:
    """Warn of rows that a column says are not in dollars: their numbers were counted as such."""
    at = _named(reader, _CURRENCIES)
    if at is None:
        return
    for number, row in reader:
        text = text_of(row[at]) if at < len(row) else ""
        if reader.is_dated(row) and not _DOLLARS.fullmatch(plain(text)):
            message = f"Amounts in {text[:20]} were counted as if they were US dollars."
            reader.warn("foreign_currency", message, number)
    reader.skipped.clear()


def said_unit(reader: RowReader) -> str | None:
    """`pounds` or `tons` where a column says so for every row; None where no column does.

    Another unit, or two of them, is a problem.
    """
    at = _named(reader, _UNITS)
    if at is None:
        return None
    found: dict[str, int] = {}
    for number, row in reader:
        unit = _unit(row[at]) if at < len(row) and reader.is_dated(row) else ""
        if unit:
            found.setdefault(unit, number)
    reader.skipped.clear()
    if len(found) == 1 and found.keys() <= {"pounds", "tons"}:
        return next(iter(found))
    for unit, number in found.items():
        name = reader.layout.headers[at]
        problem = f'the column "{name}" says {unit}: write all weights in pounds or all in tons'
        reader.problem(number, "weight", problem)
    return None


def _unit(cell: Cell) -> str:
    """What the cell says; empty for what is no unit, as of a truck."""
    text = text_of(cell)
    words = plain(text)
    if _POUNDS.fullmatch(words):
        return "pounds"
    if _TONS.fullmatch(words):
        return "tons"
    return f'"{text}"' if _OTHERS.fullmatch(words) else ""


def _named(reader: RowReader, names: Sequence[str]) -> int | None:
    used = set(reader.layout.columns.values())
    headers = enumerate(reader.layout.headers)
    return next((at for at, name in headers if at not in used and plain(name) in names), None)
