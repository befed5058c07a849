"""Reads months and stretches of days as people write them: `Jan-25`, `Jan 1 - Jan 31, 2025`.

A year that only the last day names is that of both; across New Year the first day is a year before.
"""

import re
from collections.abc import Callable, Iterable
from datetime import date

from wastewise_jobs.analysis.intake.cells import Cell, date_of, month_of, period_of
from wastewise_jobs.analysis.text import clean

Span = tuple[date, date]
ReadDay = Callable[[Cell], date]
ReadSpan = Callable[[Cell], Span]

_NAME = r"(?P<name>(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6})\.?"
# A two-digit year stands behind a dash or an apostrophe; `Jan 25` would be a day.
_SHORT = re.compile(rf"{_NAME}(?:[-/]|,? ?['\u2019])(?P<short>\d{{2}})", re.IGNORECASE)
_MONTHS = (
    _SHORT,
    re.compile(rf"{_NAME}[-/, ]+(?P<y>\d{{4}})", re.IGNORECASE),
    re.compile(rf"(?P<y>\d{{4}})[-/, ]+{_NAME}", re.IGNORECASE),
    re.compile(r"(?P<m>\d{1,2})[-/.](?P<y>\d{4})"),
    re.compile(r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})"),
    # 202501 of an accounting system; 201112 could be a day of 2020.
    re.compile(r"(?P<y>20(?:1[3-9]|[2-9]\d))(?P<m>\d{2})"),
)
_QUARTER = re.compile(
    r"q(?P<q>[1-4])[-/ ,]*(?P<y>\d{4})|(?P<year>\d{4})[-/ ]*q(?P<of>[1-4])", re.IGNORECASE
)
_BETWEEN = re.compile(r"\s*(?:–|—|\.\.)\s*|\s+(?:-|to|through|thru)\s+", re.IGNORECASE)
_DASH = re.compile(r"(?<=\d)-(?=[a-z]|\d{1,2}/)", re.IGNORECASE)
_HAS_YEAR = re.compile(r"\d{4}|\d[-/.]\d{1,2}[-/.]\d{2}$")
_SAME_MONTH = re.compile(
    rf"{_NAME}\s+(?P<first>\d{{1,2}})\s*[-–—]\s*(?P<last>\d{{1,2}}),?\s+(?P<y>\d{{4}})",
    re.IGNORECASE,
)
# What people call a year by two digits; 30 and 31 are days.
_SHORT_YEARS = range(10, 30)
_MOST_YEARS = 5


def month_in(cell: Cell) -> Span | None:
    """First and last day of a month or quarter that is written without a day, else None."""
    if isinstance(cell, float) and cell.is_integer():
        cell = f"{cell:.0f}"
    if not isinstance(cell, str):
        return None
    text = clean(cell)
    for pattern in _MONTHS:
        if match := pattern.fullmatch(text):
            return _month(**match.groupdict())
    if match := _QUARTER.fullmatch(text):
        quarter, year = int(match["q"] or match["of"]), int(match["y"] or match["year"])
        return date(year, quarter * 3 - 2, 1), month_of(date(year, quarter * 3, 1))[1]
    return None


def _month(y: str = "", m: str = "", name: str = "", short: str = "") -> Span | None:
    month = date_of(f"{name[:3]} 1, 2000").month if name else int(m)
    year = int(y or f"20{short}")
    if not 1 <= month <= 12 or not 1990 <= year <= 2100:  # noqa: PLR2004  # no date of ours
        return None
    return month_of(date(year, month, 1))


def is_short(cell: Cell) -> bool:
    """Whether it is a month with a year of two digits, which could be a day."""
    return isinstance(cell, str) and _SHORT.fullmatch(clean(cell)) is not None


def may_be_days(cells: Iterable[Cell]) -> bool:
    """Whether the two digits behind the months of a column are not all of a few years."""
    texts = (cell for cell in cells if isinstance(cell, str) and cell.lstrip()[:1].isalpha())
    found = {int(match["short"]) for text in texts if (match := _SHORT.fullmatch(clean(text)))}
    return bool(found) and not (
        all(year in _SHORT_YEARS for year in found) and max(found) - min(found) < _MOST_YEARS
    )


def span_of(cell: Cell, read_day: ReadDay = date_of, read_span: ReadSpan = period_of) -> Span:
    """First and last day of a period: a month, a quarter, from one day or month to another.

    Raises `ValueError` whose text completes the sentence "column X: ...".
    """
    if (month := month_in(cell)) is not None:
        return month
    if isinstance(cell, str):
        text = clean(cell)
        if match := _SAME_MONTH.fullmatch(text):
            days = (f"{match['name']} {match[end]}, {match['y']}" for end in ("first", "last"))
            return read_day(next(days)), read_day(next(days))
        parts = _BETWEEN.split(text) if _BETWEEN.search(text) else _DASH.split(text)
        if len(parts) == 2:  # noqa: PLR2004  # from and to
            return _between(parts[0], parts[1], read_day)
    return read_span(cell)


def _between(first: str, last: str, read_day: ReadDay) -> Span:
    start, end = month_in(first), month_in(last)
    if start is not None and end is not None:
        return start[0], end[1]
    to = read_day(last)
    if _HAS_YEAR.search(first):
        return read_day(first), to
    days = (_with_year(first, year, read_day) for year in (to.year, to.year - 1))
    return next((day for day in days if day <= to), to), to


def _with_year(text: str, year: int, read_day: ReadDay) -> date:
    for mark in "/-.":
        if re.fullmatch(rf"\d{{1,2}}\{mark}\d{{1,2}}", text):
            return read_day(f"{text}{mark}{year}")
    return read_day(f"{text}, {year}")
