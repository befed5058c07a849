"""Small pieces of what is printed. Pure."""

import unicodedata
from datetime import datetime

LONGEST_ERROR = 1000
_LONGEST = 300


def plain(text: str, longest: int = _LONGEST) -> str:
    """One line that cannot steer a terminal, whoever wrote it."""
    line = "".join(
        " " if unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else letter
        for letter in text[: longest + 1]
    )
    return line if len(line) <= longest else line[:longest] + "…"


def moment(value: datetime | None) -> str:
    """Local time to the second; a dash where nothing happened yet."""
    return "-" if value is None else value.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def day(value: datetime) -> str:
    """The local date."""
    return value.astimezone().strftime("%Y-%m-%d")


def day_or_time(value: datetime | None, *, short: bool = False) -> str:
    """Local: the time of a moment of today, the date of an older one; short is `08:30`, `Jan 31`.

    A short date of another year has the year and no day: `2025-01`.
    """
    if value is None:
        return "-"
    local = value.astimezone()
    today = datetime.now().astimezone().date()
    if local.date() == today:
        return local.strftime("%H:%M" if short else "%H:%M:%S")
    if not short:
        return day(value)
    return local.strftime("%b %d" if local.year == today.year else "%Y-%m")
