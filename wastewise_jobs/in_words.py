"""Figures as people read them: durations, shares, counts, moments. Pure."""

import math
from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
# Up to here more than the larger unit is worth saying.
_MANY_HOURS = 48 * _HOUR


def duration(seconds: float | None) -> str:
    """`0.42 s`, `12.3 s`, `3 min 05 s`, `5 h 07 min`, `12 d 3 h`; a dash for none."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    seconds = max(seconds, 0.0)
    if round(seconds, 2) < 10:  # noqa: PLR2004 - from here on three digits are enough
        return f"{seconds:.2f} s"
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _MANY_HOURS:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY:,} d {whole % _DAY // _HOUR} h"


def percent(value: float) -> str:
    """To a tenth: `33.3 %`."""
    return f"{value:.1f} %"


def number(value: float) -> str:
    """With commas, and no more than two decimals: `12,000`, `0.33`."""
    if isinstance(value, int):
        return f"{value:,}"
    text = f"{value:,.2f}"
    return text.rstrip("0").rstrip(".") if math.isfinite(value) else text


def moment(value: datetime) -> str:
    """In UTC, to the second."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def count(value: int, one: str, many: str | None = None) -> str:
    """`1 alert`, `1,200 alerts`."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"
