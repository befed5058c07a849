"""Reads one cell: amounts, weights, dates, times and text, as people and exports write them.

A cell that cannot be read raises `ValueError` whose text completes the sentence "column X: ...".
"""

import math
import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

from wastewise_jobs.analysis.text import clean, excerpt

Cell = str | float | int | bool | date | datetime | time | timedelta | None

LARGEST_NUMBER = Decimal(1_000_000_000)
EARLIEST, LATEST = date(1990, 1, 1), date(2100, 12, 31)
LONGEST_NUMBER = 40
# How many texts of at most 1000 characters.
_REMEMBERED = 4096

_ERROR = re.compile(
    "#(?:N/A|N/D|N/B|N/V|NV|\u041d/\u0414|GETTING_DATA)!?|#[\u00a1\u00bf]?[A-Z\u00c0-\u00de\u0410-\u042f_]+(?:/0)?[!?]"
    r"|Err:\d{3}"
)
_SIX_PLACES = Decimal("0.000001")
_FRAMED = re.compile(
    r"(?:\$\s*(?=\())?(?P<open>\()?\s*(?P<before>[-+])?\s*(?:US\$|USD|\$)?\s*(?P<after>[-+])?\s*"
    r"(?P<number>[\d.,' eE+-]*?[\d.,])"
    r"\s*(?P<behind>-|CR\.?|DR\.?)?\s*(?:USD|\$)?\s*(?P<close>\))?",
    re.IGNORECASE,
)
# The dash that accounting formats show for nothing.
_DASH = re.compile(r"\$?\s*-+")
# What word processors write for a minus and an apostrophe.
_ALIKE = str.maketrans("\u2212\u2013\u2019\uff04", "--'$")
_PLAIN = re.compile(r"\d+\.?\d*|\.\d+|\d(?:\.\d+)?[eE][+-]?\d{1,2}")
_US = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d*)?")
_SPACED = re.compile(r"\d{1,3}(?:[ ']\d{3})+(?:[.,]\d+)?")
# Neither can be American: two dots, a dot before a comma, a comma that groups no three digits.
_EUROPEAN = re.compile(
    r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}|\d+,(?:\d{1,2}|\d{4,})|0,\d+"
)
_EUROPEAN_IF_TOLD = re.compile(r"\d{1,3}(?:\.\d{3})+|\d+,\d+|\d+")
_AMERICAN_MARK = re.compile(r"\.\d{1,2}\D*$")


def is_blank(cell: Cell) -> bool:
    """Whether there is nothing in the cell but white space."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def is_error_value(cell: Cell) -> bool:
    """Whether a formula failed and left #N/A, #REF! or the like, in any language of the program."""
    return (
        isinstance(cell, str)
        and cell[:1] in {"#", "E"}
        and _ERROR.fullmatch(cell.strip()) is not None
    )


def text_of(cell: Cell) -> str:
    """The cell as clean text; a whole number from a workbook loses its `.0`."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < LARGEST_NUMBER**2:
        return str(int(cell))
    return clean(str(cell))


def is_european(cells: list[Cell]) -> bool:
    """Whether a column writes 1.234,50: some cell cannot be American and none must be."""
    bodies = [body for cell in cells if (body := number_body(cell))]
    return any(_EUROPEAN.fullmatch(body) for body in bodies) and not any(
        _AMERICAN_MARK.search(body) for body in bodies
    )


def number_body(cell: Cell) -> str | None:
    """The digits and marks of a number that is written as text, without its frame."""
    match = _framed(clean(cell).translate(_ALIKE)) if isinstance(cell, str) else None
    return match["number"].strip() if match else None


def number_of(cell: Cell, *, european: bool = False) -> Decimal:
    """The number in the cell, exactly; floats of a workbook are rounded to six places.

    Understands `$1,234.50`, `(12.00)`, `$ (12.00)`, `12.00-`, `12.00 CR`, and `1.234,50` where it
    can be nothing else or, with `european`, throughout.
    """
    if cell is None or isinstance(cell, bool | date | time | timedelta):
        raise ValueError(f"{excerpt(cell)} is not a number")
    value = _from_text(cell, european=european) if isinstance(cell, str) else _from_float(cell)
    if abs(value) >= LARGEST_NUMBER:
        raise ValueError(f"{excerpt(cell)} is too large to be true")
    return value


def is_number(cell: Cell) -> bool:
    """Whether `number_of` can read the cell."""
    try:
        number_of(cell)
    except ValueError:
        return False
    return True


def _from_float(cell: float) -> Decimal:
    if not math.isfinite(cell):
        raise ValueError(f"{excerpt(cell)} is not a number")
    if abs(cell) >= LARGEST_NUMBER:
        raise ValueError(f"{excerpt(cell)} is too large to be true")
    rounded = Decimal(repr(cell)).quantize(_SIX_PLACES, ROUND_HALF_UP)
    return _without_zeros(rounded)


def _without_zeros(value: Decimal) -> Decimal:
    """`12.500000` as `12.50`: cents stay, the places that rounding added go."""
    whole = value.quantize(Decimal("0.01"))
    return whole if whole == value else Decimal(format(value, "f").rstrip("0"))


def _from_text(cell: str, *, european: bool) -> Decimal:
    text = clean(cell)
    number = _number_in(text if text.isascii() else text.translate(_ALIKE), european=european)
    if number is None:
        raise ValueError(f"{excerpt(cell)} is not a number")
    return number


# A column is looked over before it is read, and its amounts come again.
@lru_cache(maxsize=_REMEMBERED)
def _number_in(text: str, *, european: bool) -> Decimal | None:
    if _DASH.fullmatch(text):
        return Decimal(0)
    match = _framed(text)
    if match is None:
        return None
    signs = [match["before"], match["after"], match["behind"], match["open"]]
    given = [sign for sign in signs if sign]
    if len(given) > 1 or bool(match["open"]) != bool(match["close"]):
        return None
    number = _body(match["number"].strip(), european=european)
    negative = bool(given) and given[0].upper().rstrip(".") not in {"+", "DR"}
    return -number if negative and number else number


def _framed(text: str) -> re.Match[str] | None:
    return _FRAMED.fullmatch(text) if len(text) <= LONGEST_NUMBER else None


def _body(text: str, *, european: bool) -> Decimal | None:
    told = european and _EUROPEAN_IF_TOLD.fullmatch(text)
    if told or _EUROPEAN.fullmatch(text):
        return Decimal(text.replace(".", "").replace(",", "."))
    if _PLAIN.fullmatch(text):
        return Decimal(text)
    if _US.fullmatch(text):
        return Decimal(text.replace(",", ""))
    if _SPACED.fullmatch(text):
        return Decimal(text.replace(" ", "").replace("'", "").replace(",", "."))
    return None


_NUMERIC_DATES = (
    re.compile(r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})"),
    re.compile(r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?:\.0+)?"),
)
_THREE_NUMBERS = {
    "mdy": re.compile(r"(?P<m>\d{1,2})([-/.])(?P<d>\d{1,2})\2(?P<y>\d{4}|\d{2})"),
    "dmy": re.compile(r"(?P<d>\d{1,2})([-/.])(?P<m>\d{1,2})\2(?P<y>\d{4}|\d{2})"),
    "ymd": re.compile(r"(?P<y>\d{2})([-/.])(?P<m>\d{1,2})\2(?P<d>\d{1,2})"),
}
_FIRST = {"mdy": "month", "dmy": "day", "ymd": "year"}
_NAMED_DATES = (
    re.compile(
        r"(?P<name>[a-z]{3,9})\.?[\s-]+(?P<d>\d{1,2})(?:st|nd|rd|th)?,?[\s-]+(?P<y>\d{4})",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?P<d>\d{1,2})[\s./-]?(?P<name>[a-z]{3,9})\.?,?[\s./-]?(?P<y>\d{4}|\d{2})",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<y>\d{4})[\s./-](?P<name>[a-z]{3,9})[\s./-](?P<d>\d{1,2})", re.IGNORECASE),
)
# A time of day behind the date, with or without zone.
_CLOCK = re.compile(
    r"[T\s]\s*\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s*([ap]\.?m\.?)?\s*(Z|UTC|GMT|[ECMP][SD]T|[+-]\d{2}:?\d{2})?$",
    re.IGNORECASE,
)
_WEEKDAY = re.compile(
    r"^(mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?\.?,?\s+", re.IGNORECASE
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SERIAL_ZERO = date(1899, 12, 30)
_DAYS_1904 = 1462
_COMPACT = (19_900_101, 21_001_231)
_NUMBERS = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")
_SERIAL_TEXT = re.compile(r"\d{5}(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class DateStyle:
    """How a column writes dates: which of `m`, `d` and `y` is first, from when numbers count."""

    order: str = "mdy"
    date1904: bool = False


USUAL = DateStyle()


def date_of(cell: Cell, style: DateStyle = USUAL) -> date:
    """The day in the cell: a workbook's date or serial number, ISO, named, or in that style."""
    if isinstance(cell, datetime):
        day = cell.date()
    elif isinstance(cell, date):
        day = cell
    elif (serial := _serial(cell, style)) is not None:
        day = _SERIAL_ZERO + timedelta(days=serial)
    elif (text := _compact(cell)) is not None:
        day = _date_in(text, style)
    else:
        raise ValueError(f"{excerpt(cell)} is not a date")
    if not EARLIEST <= day <= LATEST:
        raise ValueError(f"{excerpt(cell)} is not between 1990 and 2100")
    return day


def is_serial(cell: Cell, style: DateStyle = USUAL) -> bool:
    """Whether the cell is a number that a spreadsheet would show as a date from 1990 to 2100."""
    return _serial(cell, style) is not None


def _serial(cell: Cell, style: DateStyle) -> int | None:
    """The days of a serial number, which a CSV file has as text if its column lost its format."""
    if isinstance(cell, str) and _SERIAL_TEXT.fullmatch(cell.strip()):
        cell = float(cell)
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return None
    days = cell + (_DAYS_1904 if style.date1904 else 0)
    first, last = (EARLIEST - _SERIAL_ZERO).days, (LATEST - _SERIAL_ZERO).days
    return int(days) if first <= days < last + 1 else None


def _compact(cell: Cell) -> str | None:
    """The text of the cell; a number such as 20250128 is one that lost its text on the way."""
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return cell if isinstance(cell, str) else None
    is_day = _COMPACT[0] <= cell <= _COMPACT[1] and cell == int(cell)
    return str(int(cell)) if is_day else None


def _date_in(cell: str, style: DateStyle) -> date:
    text = clean(cell)
    if (day := _day_in(text, style)) is not None:
        return day
    first = f" ({_FIRST[style.order]} comes first)" if _NUMBERS.fullmatch(text) else ""
    raise ValueError(f"{excerpt(cell)} is not a date{first}")


@lru_cache(maxsize=_REMEMBERED)
def _day_in(text: str, style: DateStyle) -> date | None:
    text = _CLOCK.sub("", _WEEKDAY.sub("", text))
    for pattern in (*_NUMERIC_DATES, _THREE_NUMBERS[style.order], *_NAMED_DATES):
        if match := pattern.fullmatch(text):
            try:
                return day_of(**match.groupdict())
            except ValueError:
                return None
    return None


def day_of(y: str, d: str, m: str = "", name: str = "") -> date:
    """The day of these numbers, or of an English month's name; `ValueError` if there is none."""
    year = int(y)
    if len(y) == 2:  # noqa: PLR2004  # 90 to 99 are the last century's
        year += 1900 if year >= 90 else 2000  # noqa: PLR2004
    month = _MONTHS.index(name[:3].casefold()) + 1 if name else int(m)
    return date(year, month, int(d))


_BETWEEN = re.compile(r"\s+(?:-|to|through|thru|–|—)\s+|\s*(?:–|—|\.\.)\s*", re.IGNORECASE)
_MONTH_YEAR = re.compile(r"(?P<name>[a-z]{3,9})\.?,?\s+(?P<y>\d{4})", re.IGNORECASE)
_YEAR_MONTH = re.compile(r"(?P<y>\d{4})-(?P<m>\d{1,2})")


def period_of(cell: Cell, style: DateStyle = USUAL) -> tuple[date, date]:
    """First and last day of `01/01/2024 - 01/31/2024`, `January 2024` or `2024-01`."""
    if not isinstance(cell, str) or is_serial(cell, style):
        # A workbook turns "Jan 2024" into the first of that month.
        return month_of(date_of(cell, style))
    text = clean(cell)
    if match := _YEAR_MONTH.fullmatch(text):
        return month_of(date_of(f"{match['y']}-{match['m']}-01"))
    if match := _MONTH_YEAR.fullmatch(text):
        return month_of(date_of(f"{match['name']} 1, {match['y']}"))
    parts = _BETWEEN.split(text)
    if len(parts) == 1 and text.count("-") == 1:
        parts = text.split("-")
    if len(parts) != 2:  # noqa: PLR2004  # from and to
        raise ValueError(f"{excerpt(cell)} is not a period (first day - last day)")
    return date_of(parts[0], style), date_of(parts[1], style)


def month_of(day: date) -> tuple[date, date]:
    """First and last day of the month."""
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def time_text(cell: Cell) -> str:
    """A time of day as `14:05` where the cell holds one, else whatever it says."""
    if isinstance(cell, datetime | time):
        return cell.strftime("%H:%M")
    if isinstance(cell, float) and 0 <= cell < 1:
        minutes = round(cell * 1440) % 1440
        return f"{minutes // 60:02}:{minutes % 60:02}"
    return text_of(cell)
